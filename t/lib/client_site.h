/* client_site.h - the real SMTP client against a peer that follows a script, both on one thread, with a fake clock.
 *
 * Model:    every connection that the client makes to the site's port on 127.0.0.1 gets the next script. A script is
 *           lines:
 *             > TEXT    the peer says TEXT and CRLF ("\\0" stands for NUL, "\\r" for CR)
 *             < TEXT    the client must say exactly TEXT; "<" with nothing: any line; "< TEXT*": what begins so
 *             <. NAME   message data up to the lone dot; kept in site->message. With NAME "raw": not checked
 *             <= N      N octets of raw data, kept in site->message
 *             bytes     from now on the peer's words come octet by octet
 *             close     end of stream; reset: a reset of the connection (RST)
 *             silence   the peer neither reads nor writes any more; the test moves the clock
 *             eof       the client must close the connection
 *           At the end of the script the peer waits until the client closes.
 * Threads:  one.
 */
#ifndef T_CLIENT_SITE_H
#define T_CLIENT_SITE_H

#include "net/worker.h"
#include "smtp/client.h"

#define CLIENT_SITE_RCPTS 4
#define CLIENT_SITE_CONNECTIONS 8

struct client_site {
    struct clock clock;
    struct reactor *reactor;
    struct worker worker;
    int listener;
    unsigned port;
    struct smtp_client_conf conf;
    struct smtp_client *client;
    struct smtp_client_setup setup; /* may be changed before client_site_send */
    struct smtp_client_mail mail;
    struct smtp_client_rcpt rcpts[CLIENT_SITE_RCPTS];
    struct arena mem;
    slice text;      /* of the message */
    unsigned cold;   /* so many pieces are not in memory at first */
    bool is_unreadable;
    bool is_done;
    unsigned gone;
    /* the peer */
    const char *scripts[CLIENT_SITE_CONNECTIONS];
    unsigned script_count, accepted;
    int fd;
    const char *at; /* in the script; NULL: none */
    bool is_bytes, is_silent;
    struct buf in, message;
    char trouble[400]; /* what went otherwise than in the script; "" */
};

void client_site_init(struct client_site *s);
void client_site_free(struct client_site *s);
void client_site_script(struct client_site *s, const char *script); /* for the next connection */
/* rcpt_count recipients a@x.test, b@x.test …; the target is the site's port unless setup.target is set. */
void client_site_send(struct client_site *s, unsigned rcpt_count);
void client_site_run(struct client_site *s); /* until nothing moves any more */
void client_site_advance(struct client_site *s, int64_t ms); /* and run */
void client_site_close(struct client_site *s); /* the client; runs to its end */
/* "taken 2.0.0, later 4.2.0": the fates, or "unreachable 4.4.1". Into a buffer of s. */
const char *client_site_fates(struct client_site *s);

#endif
