/* syntax.h - a POP3 command line as values, RFC 1939 3. Pure. */
#ifndef POP3_SYNTAX_H
#define POP3_SYNTAX_H

#include <stdbool.h>

#include "base/slice.h"

#define POP3_LINE_MAX_OCTETS 512 /* RFC 2449 4 says 255 with CRLF; passwords may be longer in practice */
#define POP3_AUTH_MAX_OCTETS 12288 /* a SASL response: RFC 4954 4.5's figure */

struct pop3_line {
    slice verb;      /* as written */
    slice rest;      /* what follows the first blank, for PASS and USER */
    slice words[3];  /* of rest */
    unsigned word_count; /* 0 .. 3; 4: more than three */
};

/* False: no verb of 3 or 4 letters at the start. */
bool pop3_line_parse(slice line, struct pop3_line *out);
bool pop3_number(slice word, uint32_t *out); /* message numbers and line counts: 1 to 10 digits */

#endif
