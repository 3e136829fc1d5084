/* store_script.h - a store on a journal of its own, a fixed list of changes to it, and its state as text.
 *
 * Model:    one client; a step is one request, one delivery to both accounts, or care of the journal. The list meets
 *           every request of store.h, refusals included, with bodies in records and in segments of their own. The state
 *           says what users can see: mailboxes, uids, flags, keywords, sizes, usage and subscriptions; care changes
 *           none of it.
 * Threads:  one owner.
 */
#ifndef T_STORE_SCRIPT_H
#define T_STORE_SCRIPT_H

#include "store/store.h"

#define SCRIPT_ACCOUNTS 2u

struct script_site {
    const char *dir;
    const char *boot_id; /* NULL: the kernel's */
    bool discard_index;
    bool without_pool; /* helpers' work is done by the committer */
};

struct script {
    struct script_site site;
    struct clock clock;
    struct pool *pool;
    struct store *store;
    struct journal *j;
    struct journal_report report;
};
int script_open(struct script *s, const struct script_site *site, struct err *err);
void script_close(struct script *s); /* half open allowed */

unsigned script_steps(void);
/* Step n, from 0. *is_wanted: the answer is the one that a store on a sound disk gives. STORE_TEMP and STORE_FULL:
 * trouble, see err; a reopening that fails leaves s->j NULL. */
enum store_result script_step(struct script *s, unsigned n, bool *is_wanted, struct err *err);

/* All or nothing? RENAME of INBOX makes the target first, then the messages follow. */
bool script_step_is_whole(unsigned n);

enum script_detail { SCRIPT_PLAIN, SCRIPT_EXACT }; /* exact: with UIDVALIDITY and MODSEQ, which differ between runs */
int script_state(struct script *s, enum script_detail detail, struct buf *out, struct err *err);
int script_dump(struct script *s, struct buf *out, struct err *err); /* the logical dump of the index, settled */

#endif
