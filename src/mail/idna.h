/* idna.h - domains in their one stored form: lower-case A-labels. Pure.
 *
 * Model:    a domain of ASCII only is checked (LDH labels) and lower-cased; one with other characters is UTF-8 in
 *           U-labels and is converted (IDNA2008 with the UTS 46 mapping, RFC 5891 5). One trailing dot is dropped.
 * Errors:   ERR_SYNTAX: empty, too long, an address literal, or no valid name.
 */
#ifndef MAIL_IDNA_H
#define MAIL_IDNA_H

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

#define IDNA_DOMAIN_MAX_OCTETS 253 /* of the A-label form, RFC 1035 2.3.4 without length and root octets */

int idna_to_ascii(slice domain, struct arena *mem, slice *out, struct err *err);
/* For people: U-labels where they map back, else the domain as it is. Into mem. */
slice idna_to_unicode(slice domain, struct arena *mem);

#endif
