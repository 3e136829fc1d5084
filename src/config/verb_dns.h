/* verb_dns.h - `posthouse test mx DOMAIN`: where mail for a domain would go, by the configuration of DIR and without a
 * daemon.
 *
 * Exit: 0 with a route; 69 (EX_UNAVAILABLE) when the domain takes no mail or has no host; 75 (EX_TEMPFAIL) when that
 * cannot be told now.
 */
#ifndef CONFIG_VERB_DNS_H
#define CONFIG_VERB_DNS_H

#include "control/verb.h"

verb_fn config_verb_test_mx;

#endif
