/* verb_config.h - the verbs that read and change posthouse.json. They work on the file; a running daemon takes a
 * changed file over with 'posthouse reload'.
 *
 * Exit: check answers 78 (EX_CONFIG) when the document has problems.
 */
#ifndef CONFIG_VERB_CONFIG_H
#define CONFIG_VERB_CONFIG_H

#include "control/verb.h"

verb_fn config_verb_check, config_verb_show, config_verb_describe, config_verb_get, config_verb_set, config_verb_unset,
    config_verb_schema;

#endif
