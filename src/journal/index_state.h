/* index_state.h - is this index file ours and whole? The facts on which the index is trusted. Pure.
 *
 * Model:    LMDB runs without syncing, so after a power loss its pages may be silently wrong. What decides whether
 *           the file may be used therefore stands outside of it: DIR/index.state, one block of 128 octets with a
 *           checksum, synced before the first write to the index and again after the last one. Only when it vouches
 *           for the file are LMDB's two meta pages looked at, by hand, and only when they are sound is LMDB let near
 *           the file: nothing ever reads the map of a distrusted one, and no page number leads behind the end of a
 *           file that was cut.
 *
 *   state   0 magic "PHINDEX\n"  8 layout u32 (1)  12 index format u32  16 journal id 16  32 inode u64
 *          40 birth seconds i64  48 birth nanoseconds u32  52 flags u32 (1 = clean)
 *          56 CRC of the meta pages u32 (0 unless clean)  60 opens u32
 *          64 boot id, 36 octets of text padded with NUL to 40  104 zeros  124 CRC of the 124 octets before
 *           All numbers are little-endian, CRCs are CRC-32C.
 *
 * Threads:  pure functions.
 * Errors:   decoding answers -1: ERR_DAMAGE, or ERR_PERM for a newer layout. The rest answers with a reason in words.
 */
#ifndef JOURNAL_INDEX_STATE_H
#define JOURNAL_INDEX_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "journal/format.h"
#include "journal/guard.h"

#define INDEX_STATE_BYTES 128u
#define INDEX_WHY_BYTES 128u
/* So many opens in a row that neither ended in a clean stop nor got as far as INDEX_PROVEN_COMMITS: the index is
 * suspected of killing the program, and rebuilt. */
#define INDEX_OPENS_MAX 5u
/* LMDB's largest page is 32 KiB: both meta pages lie in the first so many octets of the file. */
#define INDEX_HEAD_BYTES 65536u

struct index_state {
    uint32_t format;       /* INDEX_FORMAT of the program that wrote it */
    uint32_t opens;        /* see INDEX_OPENS_MAX */
    uint32_t pages_crc;    /* of the meta pages when it was closed */
    bool clean;            /* closed, and nothing written since */
    uint64_t inode;        /* of the index file ... */
    int64_t birth_s;       /* ... and when it was made, 0 where the file system does not tell */
    uint32_t birth_ns;
    unsigned char journal_id[JOURNAL_ID_BYTES];
    char boot_id[BOOT_ID_BYTES];
};

void index_state_encode(unsigned char out[INDEX_STATE_BYTES], const struct index_state *s);
int index_state_decode(slice in, struct index_state *s, struct err *err);

/* May the file that `now` describes be used, given what the state file says? False with the reason. */
bool index_state_trusts(const struct index_state *s, const struct index_state *now, char why[INDEX_WHY_BYTES]);

/* What LMDB's meta pages say (data format 1, 64 bits, the processor's byte order). */
struct index_pages {
    uint32_t page_bytes;
    uint64_t last_page;   /* highest page number in use */
    uint64_t transaction; /* of the newer page */
    uint32_t crc;         /* of both pages */
};
/* head: the first octets of the file, INDEX_HEAD_BYTES of them if it has so many. False with the reason when a page
 * is not sound, the two do not follow each other, or the file ends before the last page they name. */
bool index_pages_check(slice head, uint64_t file_bytes, struct index_pages *pages, char why[INDEX_WHY_BYTES]);

#endif
