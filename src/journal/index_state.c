#include "journal/index_state.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"

static const unsigned char state_magic[8] = { 'P', 'H', 'I', 'N', 'D', 'E', 'X', '\n' };
#define STATE_LAYOUT 1u
#define STATE_CLEAN 1u

/* Offsets in the state block; see the header. */
enum {
    AT_LAYOUT = 8,
    AT_FORMAT = 12,
    AT_JOURNAL = 16,
    AT_INODE = 32,
    AT_BIRTH_S = 40,
    AT_BIRTH_NS = 48,
    AT_FLAGS = 52,
    AT_PAGES_CRC = 56,
    AT_OPENS = 60,
    AT_BOOT = 64,
    AT_ZEROS = 104,
    AT_CRC = 124,
};

void index_state_encode(unsigned char out[INDEX_STATE_BYTES], const struct index_state *s)
{
    memset(out, 0, INDEX_STATE_BYTES);
    memcpy(out, state_magic, sizeof(state_magic));
    put_le32(out + AT_LAYOUT, STATE_LAYOUT);
    put_le32(out + AT_FORMAT, s->format);
    memcpy(out + AT_JOURNAL, s->journal_id, JOURNAL_ID_BYTES);
    put_le64(out + AT_INODE, s->inode);
    put_le64(out + AT_BIRTH_S, (uint64_t)s->birth_s);
    put_le32(out + AT_BIRTH_NS, s->birth_ns);
    put_le32(out + AT_FLAGS, s->clean ? STATE_CLEAN : 0);
    put_le32(out + AT_PAGES_CRC, s->pages_crc);
    put_le32(out + AT_OPENS, s->opens);
    memcpy(out + AT_BOOT, s->boot_id, strnlen(s->boot_id, BOOT_ID_BYTES - 1));
    put_le32(out + AT_CRC, crc32c(0, out, AT_CRC));
}

int index_state_decode(slice in, struct index_state *s, struct err *err)
{
    static const unsigned char zeros[AT_CRC - AT_ZEROS];
    const unsigned char *p = in.ptr;
    uint32_t flags;

    memset(s, 0, sizeof(*s));
    if (in.len != INDEX_STATE_BYTES)
        return err_set(err, ERR_DAMAGE, "it has %zu octets instead of %u", in.len, INDEX_STATE_BYTES);
    if (memcmp(p, state_magic, sizeof(state_magic)) != 0)
        return err_set(err, ERR_DAMAGE, "bad magic");
    if (get_le32(p + AT_CRC) != crc32c(0, p, AT_CRC))
        return err_set(err, ERR_DAMAGE, "bad checksum");
    if (get_le32(p + AT_LAYOUT) != STATE_LAYOUT)
        return err_set(err, ERR_PERM, "unknown layout %u", get_le32(p + AT_LAYOUT));

    /* The checksum holds, so what follows fails only for a writer with other ideas. One value has one encoding. */
    flags = get_le32(p + AT_FLAGS);
    if ((flags & ~STATE_CLEAN) != 0 || p[AT_BOOT + BOOT_ID_BYTES - 1] != 0 ||
        memcmp(p + AT_ZEROS, zeros, sizeof(zeros)) != 0)
        return err_set(err, ERR_DAMAGE, "unknown content");
    memcpy(s->boot_id, p + AT_BOOT, BOOT_ID_BYTES);
    for (size_t i = strlen(s->boot_id); i < AT_ZEROS - AT_BOOT; i++) {
        if (p[AT_BOOT + i] != 0)
            return err_set(err, ERR_DAMAGE, "unknown content");
    }
    s->format = get_le32(p + AT_FORMAT);
    memcpy(s->journal_id, p + AT_JOURNAL, JOURNAL_ID_BYTES);
    s->inode = get_le64(p + AT_INODE);
    s->birth_s = (int64_t)get_le64(p + AT_BIRTH_S);
    s->birth_ns = get_le32(p + AT_BIRTH_NS);
    s->clean = (flags & STATE_CLEAN) != 0;
    s->pages_crc = get_le32(p + AT_PAGES_CRC);
    s->opens = get_le32(p + AT_OPENS);
    return 0;
}

static bool refuse(char why[INDEX_WHY_BYTES], const char *text)
{
    snprintf(why, INDEX_WHY_BYTES, "%s", text);
    return false;
}

bool index_state_trusts(const struct index_state *s, const struct index_state *now, char why[INDEX_WHY_BYTES])
{
    /* Without a boot id two boots look alike. */
    bool same_boot = strcmp(s->boot_id, now->boot_id) == 0 && strcmp(now->boot_id, "unknown") != 0;

    if (s->format != now->format) {
        snprintf(why, INDEX_WHY_BYTES, "it has format %u, this program writes %u", s->format, now->format);
        return false;
    }
    if (memcmp(s->journal_id, now->journal_id, JOURNAL_ID_BYTES) != 0)
        return refuse(why, "it belongs to another journal");
    if (s->inode != now->inode || s->birth_s != now->birth_s || s->birth_ns != now->birth_ns)
        return refuse(why, "its file was copied or restored");
    if (!s->clean && !same_boot)
        return refuse(why, "it was in use when the machine stopped");
    if (!s->clean && s->opens >= INDEX_OPENS_MAX) {
        snprintf(why, INDEX_WHY_BYTES, "the program died %u times soon after opening it", s->opens);
        return false;
    }
    return true;
}

/* --- LMDB's meta pages ----------------------------------------------------------------------------------------------
 * page   0 page number u64  8 u16  10 flags u16  12 u32
 * meta  16 magic u32  20 version u32  24 address u64  32 map size u64  40 free list tree 48  88 main tree 48
 *      136 last page u64  144 transaction u64
 * tree   0 u32 (free list: page size)  4 flags u16  6 depth u16  8 branch pages u64  16 leaf pages u64
 *       24 overflow pages u64  32 entries u64  40 root u64
 * The layout is private to LMDB but frozen by its data version; the build brings its own copy of the library, and the
 * tests compare what is found here with what mdb_env_info says. */

enum {
    META_BYTES = 152,
    META_MAGIC = 16,
    META_VERSION = 20,
    META_ADDRESS = 24,
    META_MAP = 32,
    META_FREE = 40,
    META_MAIN = 88,
    META_LAST_PAGE = 136,
    META_TRANSACTION = 144,
};
#define LMDB_MAGIC 0xBEEFC0DEu
#define LMDB_DATA_VERSION 1u
#define LMDB_PAGE_META 0x08u
#define LMDB_FREE_FLAGS 0x4008u /* MDB_NOSUBDIR of the environment, MDB_INTEGERKEY of the free list */
#define LMDB_NO_PAGE UINT64_MAX
#define LMDB_DEPTH_MAX 32u
#define LMDB_PAGE_BYTES_MIN 512u
#define LMDB_PAGE_BYTES_MAX 32768u

static_assert(sizeof(void *) == 8 && sizeof(size_t) == 8, "the index needs 64 bits");

static uint16_t word16(const unsigned char *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static uint32_t word32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static uint64_t word64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* A tree is empty throughout or not at all, and nothing in it lies behind the last page. */
static bool tree_is_sound(const unsigned char *p, uint64_t last_page)
{
    uint16_t depth = word16(p + 6);
    uint64_t branch = word64(p + 8), leaf = word64(p + 16), overflow = word64(p + 24);
    uint64_t entries = word64(p + 32), root = word64(p + 40);

    if (root == LMDB_NO_PAGE)
        return depth == 0 && branch == 0 && leaf == 0 && overflow == 0 && entries == 0;
    return root >= 2 && root <= last_page && depth >= 1 && depth <= LMDB_DEPTH_MAX && leaf >= 1 && entries >= 1 &&
           branch <= last_page && leaf <= last_page && overflow <= last_page && (branch >= 1) == (depth >= 2);
}

/* What is wrong with meta page `n`, or NULL. */
static const char *meta_fault(const unsigned char *p, unsigned n, uint32_t page_bytes)
{
    uint64_t last = word64(p + META_LAST_PAGE);

    if (word32(p + META_MAGIC) != LMDB_MAGIC || word64(p) != n || word16(p + 10) != LMDB_PAGE_META)
        return "is none";
    if (word32(p + META_VERSION) != LMDB_DATA_VERSION)
        return "has another version";
    if (word32(p + META_FREE) != page_bytes)
        return "has another page size";
    if ((word64(p + META_TRANSACTION) & 1) != n)
        return "has a wrong transaction number";
    if (last < 1 || last > UINT64_MAX / LMDB_PAGE_BYTES_MAX - 1)
        return "has a wrong last page";
    if (word64(p + META_ADDRESS) != 0 || word64(p + META_MAP) / page_bytes < last + 1 ||
        word16(p + META_FREE + 4) != LMDB_FREE_FLAGS || word16(p + META_MAIN + 4) != 0 ||
        word32(p + META_MAIN) != 0 || !tree_is_sound(p + META_FREE, last) || !tree_is_sound(p + META_MAIN, last))
        return "is damaged";
    return NULL;
}

bool index_pages_check(slice head, uint64_t file_bytes, struct index_pages *pages, char why[INDEX_WHY_BYTES])
{
    const unsigned char *page[2];
    uint64_t transaction[2], last = 0, used;
    uint32_t size;

    memset(pages, 0, sizeof(*pages));
    if (head.len < META_BYTES)
        return refuse(why, "its file is cut within the first page");
    size = word32(head.ptr + META_FREE);
    if (size < LMDB_PAGE_BYTES_MIN || size > LMDB_PAGE_BYTES_MAX || (size & (size - 1)) != 0)
        return refuse(why, "its meta page 0 has no page size");
    if (head.len < 2 * (size_t)size)
        return refuse(why, "its file is cut within the meta pages");
    for (unsigned i = 0; i < 2; i++) {
        const char *fault;

        page[i] = head.ptr + i * (size_t)size;
        fault = meta_fault(page[i], i, size);
        if (fault != NULL) {
            snprintf(why, INDEX_WHY_BYTES, "its meta page %u %s", i, fault);
            return false;
        }
        transaction[i] = word64(page[i] + META_TRANSACTION);
        if (word64(page[i] + META_LAST_PAGE) > last)
            last = word64(page[i] + META_LAST_PAGE);
    }
    /* Commits write the two in turn, and the older one is what a reader may still see: both count. */
    if (transaction[0] + 1 != transaction[1] && transaction[1] + 1 != transaction[0])
        return refuse(why, "its meta pages do not follow each other");
    used = (last + 1) * size;
    if (used > file_bytes) {
        snprintf(why, INDEX_WHY_BYTES, "its file is cut: %llu octets, %llu are in use",
                 (unsigned long long)file_bytes, (unsigned long long)used);
        return false;
    }
    pages->page_bytes = size;
    pages->last_page = last;
    pages->transaction = transaction[0] > transaction[1] ? transaction[0] : transaction[1];
    pages->crc = crc32c(0, head.ptr, 2 * (size_t)size);
    return true;
}
