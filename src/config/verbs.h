/* verbs.h - the verb table of the command line: every verb of the product is a row here.
 *
 * It stands in the top room because rows name functions of every room; control/verb.h says what a row means.
 */
#ifndef CONFIG_VERBS_H
#define CONFIG_VERBS_H

#include "control/verb.h"

extern const struct verb_table posthouse_verbs;

#endif
