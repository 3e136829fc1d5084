#include "base/budget.h"

#include <stdio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/counter.h"

enum { BC_LIMIT, BC_USED, BC_CHARGED, BC_REFUSED, BUDGET_COUNTERS };

static struct counter budget_counters[BUDGET_COUNTERS] = {
    [BC_LIMIT] = { "memory.limit_bytes", "the limit in force, 0: none", COUNTER_GAUGE, 0 },
    [BC_USED] = { "memory.anonymous_bytes", "anonymous memory at the last look; looked at only with a limit",
                  COUNTER_GAUGE, 0 },
    [BC_CHARGED] = { "memory.charged_bytes", "allowed since that look", COUNTER_GAUGE, 0 },
    [BC_REFUSED] = { "memory.refused", "new work refused because memory was short", COUNTER_TOTAL, 0 },
};

void budget_register(void)
{
    counter_register(budget_counters, BUDGET_COUNTERS);
}

void budget_limit(uint64_t bytes)
{
    counter_set(&budget_counters[BC_LIMIT], (int64_t)bytes);
}

/* Resident without what files and shared memory hold: the index's map does not count. */
static uint64_t anonymous_bytes(void)
{
    unsigned long long total, resident, shared;
    FILE *f = fopen("/proc/self/statm", "re");
    uint64_t pages = 0;

    if (f == NULL)
        return 0;
    if (fscanf(f, "%llu %llu %llu", &total, &resident, &shared) == 3 && resident > shared)
        pages = resident - shared;
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* What is allowed between the two stores is forgotten; the next look sees it. */
void budget_look(void)
{
    counter_set(&budget_counters[BC_USED], (int64_t)anonymous_bytes());
    counter_set(&budget_counters[BC_CHARGED], 0);
}

static bool fits(uint64_t bytes)
{
    int64_t limit = counter_get(&budget_counters[BC_LIMIT]);
    int64_t used = counter_get(&budget_counters[BC_USED]) + counter_get(&budget_counters[BC_CHARGED]);

    return limit == 0 || (bytes <= INT64_MAX / 2 && used + (int64_t)bytes <= limit - limit / 8);
}

bool budget_allows(uint64_t bytes)
{
    if (!fits(bytes)) {
        counter_add(&budget_counters[BC_REFUSED], 1);
        return false;
    }
    budget_charge(bytes);
    return true;
}

void budget_charge(uint64_t bytes)
{
    if (counter_get(&budget_counters[BC_LIMIT]) != 0)
        counter_add(&budget_counters[BC_CHARGED], (int64_t)bytes);
}

uint64_t budget_refused(void)
{
    return (uint64_t)counter_get(&budget_counters[BC_REFUSED]);
}

bool budget_is_short(void)
{
    return !fits(0);
}
