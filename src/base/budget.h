/* budget.h - one number that bounds the anonymous memory of the process (memory.limit_bytes).
 *
 * Model:    the kernel's count of the process is looked at ten times a second, so whatever takes memory is counted,
 *           whether or not somebody thought of charging it. What takes much at once (a connection, the view of a
 *           mailbox, the octets of a message) asks first; what was allowed counts until the next look sees it. An
 *           eighth of the limit is kept back for what runs: new work is refused before, what runs goes on in smaller
 *           steps.
 * Threads:  any. The numbers are counters of the process, so that anybody can see them.
 */
#ifndef BASE_BUDGET_H
#define BASE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

void budget_register(void); /* its counters; at start */
void budget_limit(uint64_t bytes); /* 0: none; counts at once */
void budget_look(void); /* at the kernel's count */
/* May that much be taken for new work? Then it is charged. */
bool budget_allows(uint64_t bytes);
/* Charged without asking: what runs needs it. */
void budget_charge(uint64_t bytes);
bool budget_is_short(void); /* in the last eighth, or beyond */
uint64_t budget_refused(void); /* how often something was not allowed */

#endif
