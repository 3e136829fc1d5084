/* notice.h - notices as messages: section "notices", and what outcome.h decided made into entries of a request.
 *
 * Model:    each notice is one message with a null reverse-path (RFC 3461 6.1), written by mail/dsn.h, for channel
 *           "process", which routes it like mail of any other origin. It is an addition of the request that records
 *           what happened, so both are in one batch: no end without its notice, no notice twice.
 * Content:  failures carry the whole message unless RET=HDRS or it is larger than content_return_limit; other notices
 *           and copies to postmaster its header (RFC 3461 4.3, 6.2).
 * Threads:  notice_compose reads the message from disk: a helper or a tool, never a reactor.
 */
#ifndef QUEUE_NOTICE_H
#define QUEUE_NOTICE_H

#include "queue/outcome.h"

/* Texts are templates of mail/dsn.h; an empty one is the built-in text. */
#define NOTICES_KEYS(K)                                                                                                \
    K(STR, return_address, NULL, 0, 255, NONE, SESSION, "RETURN_ADDRESS",                                              \
      "From: of notices, and who gets what nobody else can be told; default: postmaster@ the host name.")              \
    K(STR, return_personal, "MTA e-Mail Interconnect", 0, 255, NONE, SESSION, "RETURN_PERSONAL",                       \
      "Display name in From: of notices.")                                                                             \
    K(ENUM, final, 0, "includefinal|suppressfinal", 0, NONE, SESSION, "includefinal",                                  \
      "Whether notices show the final form of an address besides the original one.")                                   \
    K(STR, prefix, NULL, 0, 65536, NONE, SESSION, "return_prefix.txt",                                                 \
      "Beginning of every notice: header fields of its text part (Content-Type, Content-Language), an empty line, "    \
      "text. %H is the message's header, %R the recipients, %C, %L and %F the age, the time left and the whole time, " \
      "%u their unit, %s its plural.")                                                                                 \
    K(STR, suffix, NULL, 0, 65536, NONE, SESSION, "return_suffix.txt", "End of every notice.")                         \
    K(STR, failed, NULL, 0, 65536, NONE, SESSION, "return_failed.txt", "Text for recipients that were refused.")       \
    K(STR, bounced, NULL, 0, 65536, NONE, SESSION, "return_bounced.txt", "Text for what was returned by hand.")        \
    K(STR, timedout, NULL, 0, 65536, NONE, SESSION, "return_timedout.txt", "Text for what became too old.")            \
    K(STR, delayed, NULL, 0, 65536, NONE, SESSION, "return_delayed.txt", "Text of warnings.")                          \
    K(STR, forwarded, NULL, 0, 65536, NONE, SESSION, "return_forwarded.txt",                                           \
      "Text when a receipt was asked for and the next host gives none.")                                               \
    K(STR, delivered, NULL, 0, 65536, NONE, SESSION, "return_delivered.txt", "Text of receipts.")                      \
    K(STR, expanded, NULL, 0, 65536, NONE, SESSION, NULL, "Text of receipts of lists.")                                \
    K(STR, failed_subject, NULL, 0, 255, NONE, SESSION, NULL, "Subject of the notice; so for all kinds.")              \
    K(STR, bounced_subject, NULL, 0, 255, NONE, SESSION, NULL, "See failed_subject.")                                  \
    K(STR, timedout_subject, NULL, 0, 255, NONE, SESSION, NULL, "See failed_subject.")                                 \
    K(STR, delayed_subject, NULL, 0, 255, NONE, SESSION, NULL, "See failed_subject.")                                  \
    K(STR, forwarded_subject, NULL, 0, 255, NONE, SESSION, NULL, "See failed_subject.")                                \
    K(STR, delivered_subject, NULL, 0, 255, NONE, SESSION, NULL, "See failed_subject.")                                \
    K(STR, expanded_subject, NULL, 0, 255, NONE, SESSION, NULL, "See failed_subject.")                                 \
    K(STR, day, NULL, 0, 64, NONE, SESSION, "DAY", "Word for %u in days.")                                             \
    K(STR, hour, NULL, 0, 64, NONE, SESSION, "HOUR", "Word for %u in hours.")                                          \
    K(STR, recipient_address, NULL, 0, 255, NONE, SESSION, "RECIPIENT_ADDRESS", "Label in the block of a recipient.")  \
    K(STR, original_address, NULL, 0, 255, NONE, SESSION, "ORIGINAL_ADDRESS", "Label in the block of a recipient.")    \
    K(STR, reason, NULL, 0, 255, NONE, SESSION, "REASON", "Label in the block of a recipient.")                        \
    K(STR, diagnostic_code, NULL, 0, 255, NONE, SESSION, "DIAGNOSTIC_CODE", "Label in the block of a recipient.")

struct notices_conf {
    NOTICES_KEYS(KEY_FIELD)
    slice hostname;                           /* of this server */
    slice postmaster;                         /* return_address, or its default */
    struct dsn_template templates[DSN_KINDS]; /* of the keys and the built-in texts */
};
extern const struct key_table notices_keys;

/* After keys_read: fill what is made from the keys. hostname lives as long as the set. */
void notices_conf_complete(struct notices_conf *c, slice hostname, struct arena *mem);

/* Fill r (QUEUE_RESULT) with what was decided: outcomes, times, and an addition for each notice. */
int notice_compose(struct journal *j, const struct conf_set *conf, const struct outcome_input *in,
                   const struct outcome *out, struct queue_request *r, struct err *err);
/* One notice, for who has a request of his own (a receipt for mail that was never queued): an addition in mem. entry:
 * as for notice_compose. Its outcomes say how each recipient of the notice ended. */
int notice_addition(struct journal *j, const struct conf_set *conf, const struct outcome_input *in,
                    const struct outcome *out, const struct outcome_notice *n, struct arena *mem,
                    struct queue_addition **addition, struct err *err);

#endif
