/* init.h - posthouse init: a data directory that can be started at once.
 *
 * Makes DIR with a minimal posthouse.json, a self-signed ECDSA certificate if there is none, the journal with the
 * domain, postmaster and abuse, and the first user if one is named; prints the DNS records to set. A directory that
 * has a posthouse.json already is refused and left alone.
 */
#ifndef CONFIG_INIT_H
#define CONFIG_INIT_H

#include "control/verb.h"

verb_fn init_verb_run;

#endif
