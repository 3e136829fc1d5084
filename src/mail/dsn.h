/* dsn.h - delivery status notifications as octets: multipart/report (RFC 6522) with message/delivery-status (RFC 3464).
 *
 * Model:    what is needed comes in, octets go out. A notice has three parts: a text for people, made from a template
 *           of the site, the machine-readable report, and the original message or its header. The original's body is
 *           not copied here: dsn_write gives what stands before and behind it, and the caller puts it in between.
 * Template: prefix, text and suffix, one after the other. The prefix begins with header fields of the text part
 *           (Content-Type with its charset, Content-Language), then an empty line. Substitutions, octet by octet:
 *             %H  header of the original        %R  the recipients, a block for each
 *             %C  age, %L what is left, %F all of the time allowed, in units
 *             %U %u  "Hour" "hour" or "Day" "day"   %S %s  "S" "s" unless the number before was 1   %%  "%"
 *           Anything else behind a '%' stays as it is. Line ends become CRLF.
 * Order:    RFC 3464 2.2 and 2.3 for the fields. Texts of peers lose control characters and are folded.
 * Pure; no errors: what is missing is left out.
 */
#ifndef MAIL_DSN_H
#define MAIL_DSN_H

#include "base/arena.h"
#include "base/buf.h"

enum dsn_action { DSN_FAILED, DSN_DELAYED, DSN_DELIVERED, DSN_RELAYED, DSN_EXPANDED };

/* Which template: the legacy product's set. */
enum dsn_kind {
    DSN_KIND_FAILED,    /* refused for good */
    DSN_KIND_BOUNCED,   /* returned by hand */
    DSN_KIND_TIMEDOUT,  /* too old */
    DSN_KIND_DELAYED,   /* waits, goes on trying */
    DSN_KIND_FORWARDED, /* a receipt was asked for, and the next host gives none */
    DSN_KIND_DELIVERED,
    DSN_KIND_EXPANDED,
    DSN_KINDS
};
extern const char *const dsn_kind_names[DSN_KINDS]; /* "failed" … */

struct dsn_template {
    slice subject, prefix, text, suffix;
    slice day, hour;                                    /* words for %u and %U, as written; empty: "day" "hour" */
    slice recipient, original, reason, diagnostic;      /* labels of %R; an empty one leaves its line out */
};
/* The built-in set, in English. Lives for ever. */
const struct dsn_template *dsn_template_default(enum dsn_kind kind);

struct dsn_rcpt {
    slice final;          /* address as last known to us */
    slice original;       /* address as it came in when that is another one, or empty */
    slice orcpt;          /* RFC 3461 4.2 as it stood on the wire, "rfc822;bob+40example.net", or empty */
    enum dsn_action action;
    slice status;         /* "5.1.1" */
    slice diag_type;      /* "smtp", "x-posthouse"; empty: no Diagnostic-Code */
    slice diag;           /* "550 5.1.1 no such user" */
    slice reason;         /* for people; empty: the diagnostic stands for it */
    slice remote_mta;     /* host name, or empty */
    int64_t last_attempt_ms, retry_until_ms; /* wall time; 0: left out */
};

struct dsn {
    enum dsn_kind kind;
    const struct dsn_template *template; /* NULL: the built-in one of kind */
    slice from_name, from; /* postmaster of this site */
    slice to;              /* who gets it; his own address also when the copy goes to postmaster */
    slice reporting_mta;   /* our host name */
    slice envid;           /* as on the wire (xtext), or empty */
    slice message_id;      /* of the notice, "<…>" */
    slice original_message_id; /* "<…>" or empty: References */
    slice boundary;        /* must not occur in the original; random */
    int64_t now_ms, arrival_ms;
    int64_t allowed_ms;    /* %F; %C is now - arrival */
    bool units_are_hours;
    bool show_final;       /* includefinal; otherwise the original address stands for the final one where it is known */
    bool is_utf8;          /* the original needs RFC 6532: message/global and its kin (RFC 6533) */
    bool has_body;         /* the whole original is returned, else its header only */
    const struct dsn_rcpt *rcpts;
    unsigned rcpt_count;
    slice header;          /* of the original, with its line ends, without the empty line; cut at DSN_HEADER_MAX */
};
#define DSN_HEADER_MAX_OCTETS 65536u

/* out: everything in front of the original's body (behind its empty line when has_body); tail: what follows the body.
 * Both are appended to. */
void dsn_write(const struct dsn *d, struct buf *out, struct buf *tail);

/* xtext of RFC 3461 4 to octets; what is no xtext stays as it is. */
slice dsn_xtext_decode(struct arena *mem, slice xtext);
void dsn_xtext_encode(slice octets, struct buf *out);

/* A message/delivery-status body, for tests, loops and `why`; lenient. Groups in order; NULL: none. */
struct dsn_group {
    slice final_recipient, original_recipient, action, status, diagnostic, remote_mta; /* unfolded */
    struct dsn_group *next;
};
struct dsn_group *dsn_parse(slice status_part, slice *reporting_mta, slice *envid, struct arena *mem);

#endif
