/* verb_why.h - `posthouse why KEY`: the life of a message as text for people, or as JSON. */
#ifndef CONTROL_VERB_WHY_H
#define CONTROL_VERB_WHY_H

#include "control/verb.h"

verb_fn verb_run_why; /* exit code 1 when nothing is known of the key */

#endif
