/* smtp_site.h - journal, directory, store, intake and SMTP sessions in one process, without a network: for tests that
 * speak to the real session code over a socket pair.
 *
 * Model:    sessions run on a reactor thread of the site; the test is the client, on its own thread, with a blocking
 *           descriptor. Domain example.test; users alice, bob and carol; full, whose mailbox is; held is on hold,
 *           asleep inactive. Aliases: team = alice, bob; nested = team, carol; mixed = alice, full; ring = ring2 =
 *           ring; partly = alice and one who is not there; away = alice and x@other.test. There is a queue, and nobody
 *           who delivers from it.
 * Threads:  one test thread.
 */
#ifndef T_SMTP_SITE_H
#define T_SMTP_SITE_H

#include "smtp/smtp.h"

struct smtp_site;

/* keys: NULL, or JSON {"smtp": {...}, "intake": {...}, "queue": {...}, "channels": {...}, "routes": [...]} that is read
 * over the defaults. Fails by aborting. */
struct smtp_site *smtp_site_new(const char *keys);
void smtp_site_destroy(struct smtp_site **s); /* the directory goes, too */
/* The same data, opened anew; the index is rebuilt behind it, so many late records at a time. No session is open. */
void smtp_site_rebuild(struct smtp_site *s, unsigned records);

/* The client's end of a new session; the greeting has not been read. */
int smtp_site_connect(struct smtp_site *s, const struct protocol *protocol);
/* As if from that address. */
int smtp_site_connect_from(struct smtp_site *s, const struct protocol *protocol, const char *host_and_port);
void smtp_site_wait_idle(struct smtp_site *s); /* until every session is closed */

/* Send all, then read until `replies` final reply lines came or the peer closed; returns what was read (valid until the
 * next call). replies 0: read until the peer closes. */
const char *smtp_site_talk(struct smtp_site *s, int fd, slice send, unsigned replies);

/* Number of messages in a user's INBOX, and the octets of one (1 = oldest), appended to out. */
unsigned smtp_site_inbox(struct smtp_site *s, const char *user);
void smtp_site_message(struct smtp_site *s, const char *user, unsigned number, struct buf *out);

/* The ledger of the index. */
OWNED json_t *smtp_site_ledger(struct smtp_site *s);
struct journal *smtp_site_journal(struct smtp_site *s);
struct queue *smtp_site_queue(struct smtp_site *s);
/* Faults that intake_check and queue_check find; each is printed. */
int smtp_site_check(struct smtp_site *s);
/* By hand: stop or start a channel. */
void smtp_site_channel(struct smtp_site *s, const char *channel, bool is_stopped);

#endif
