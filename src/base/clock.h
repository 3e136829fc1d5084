/* clock.h - two times: monotonic for timeouts, wall for dates and due times. All in milliseconds.
 *
 * Model:    a `struct clock` answers; the real one asks the kernel, a test's one is set by hand. Code takes the time
 *           from the clock it was given and never from the system.
 * Threads:  the real clock is stateless; a fake one may be moved from any thread (atomics).
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct clock {
    bool is_fake;
    _Atomic int64_t fake_mono_ms;
    _Atomic int64_t fake_wall_ms;
};

void clock_init_real(struct clock *c);
void clock_init_fake(struct clock *c, int64_t mono_ms, int64_t wall_ms);
void clock_fake_advance(struct clock *c, int64_t ms);
int64_t clock_mono_ms(const struct clock *c);
int64_t clock_wall_ms(const struct clock *c); /* since 1970-01-01 UTC */
int64_t clock_mono_us(const struct clock *c); /* real clock in microseconds, for measuring; fake: ms * 1000 */

#endif
