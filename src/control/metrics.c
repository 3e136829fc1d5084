#include "control/metrics.h"

#include <stdio.h>
#include <string.h>

#include "base/counter.h"
#include "base/mem.h"
#include "control/verb.h"
#include "queue/conf.h"
#include "queue/queue.h"
#include "queue/scheduler.h"

#define NAME_BYTES 96

/* --- the format --------------------------------------------------------------------------------------------------- */

static void family(struct buf *out, const char *name, const char *help, bool is_counter)
{
    buf_printf(out, "# HELP %s ", name);
    for (const char *c = help; *c != '\0'; c++) {
        if (*c == '\\')
            buf_put_byte(out, '\\');
        buf_put_byte(out, *c == '\n' ? ' ' : (unsigned char)*c);
    }
    buf_printf(out, "\n# TYPE %s %s\n", name, is_counter ? "counter" : "gauge");
}

static void label(struct buf *out, char before, const char *name, const char *value)
{
    buf_printf(out, "%c%s=\"", before, name);
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '\\' || *c == '"')
            buf_put_byte(out, '\\');
        buf_put_byte(out, *c == '\n' ? ' ' : (unsigned char)*c);
    }
    buf_put_byte(out, '"');
}

static void sample(struct buf *out, const char *name, const char *channel, const char *state, int64_t value)
{
    buf_put_str(out, name);
    label(out, '{', "channel", channel);
    if (state != NULL)
        label(out, ',', "state", state);
    buf_printf(out, "} %lld\n", (long long)value);
}

static void put_counters(struct buf *out)
{
    struct counter *c;

    for (unsigned at = 0; (c = counter_next(&at)) != NULL;) {
        struct buf name = BUF_INIT;

        buf_printf(&name, "posthouse_%s%s", c->name, c->kind == COUNTER_TOTAL ? "_total" : "");
        for (size_t i = 0; i < name.len; i++)
            if (!ascii_is_alnum(name.ptr[i]))
                name.ptr[i] = '_';
        family(out, buf_str(&name), c->text, c->kind == COUNTER_TOTAL);
        buf_printf(out, "%s %lld\n", buf_str(&name), (long long)counter_get(c));
        buf_free(&name);
    }
}

/* --- what passed through the channels ----------------------------------------------------------------------------- */

struct tally_copy {
    char channel[CHANNEL_NAME_MAX + 1];
    struct tally_count counts[TALLY_KINDS];
    int64_t numbers[TALLY_NUMBERS];
};
struct tally_list {
    struct tally_copy *items;
    size_t count, cap;
};

static void name_copy(char to[CHANNEL_NAME_MAX + 1], slice name)
{
    snprintf(to, CHANNEL_NAME_MAX + 1, "%.*s", SLICE_ARG(slice_sub(name, 0, CHANNEL_NAME_MAX)));
}

static void tally_keep(void *arg, const struct tally_row *row)
{
    struct tally_list *l = arg;
    struct tally_copy *c;

    if (l->count == l->cap) {
        l->cap = l->cap * 2 + 16;
        l->items = mem_realloc(l->items, l->cap * sizeof *l->items);
    }
    c = &l->items[l->count++];
    name_copy(c->channel, row->channel);
    memcpy(c->counts, row->counts, sizeof c->counts);
    memcpy(c->numbers, row->numbers, sizeof c->numbers);
}

static void put_kind(struct buf *out, const struct tally_list *l, enum tally_kind kind)
{
    static const char *const units[] = { "", "_recipients", "_bytes" };
    static const char *const words[] = { "Messages", "Recipients", "Octets of messages" };

    for (unsigned u = 0; u < ARRAY_LEN(units); u++) {
        char name[NAME_BYTES], help[NAME_BYTES];

        snprintf(name, sizeof name, "posthouse_channel_%s%s_total", tally_kind_names[kind], units[u]);
        snprintf(help, sizeof help, "%s %s, by channel.", words[u], tally_kind_names[kind]);
        family(out, name, help, true);
        for (size_t i = 0; i < l->count; i++) {
            const struct tally_count *c = &l->items[i].counts[kind];

            sample(out, name, l->items[i].channel, NULL, u == 0 ? c->messages : u == 1 ? c->recipients : c->bytes);
        }
    }
}

static void put_tallies(const struct rpc_env *env, struct buf *out)
{
    static const char *const help[TALLY_NUMBERS] = {
        [TALLY_FIRST] = "Messages delivered at their first attempt, by channel.",
        [TALLY_QUEUE_S] = "Seconds that delivered messages waited, summed up.",
        [TALLY_QUEUE_COUNT] = "Messages in that sum.",
        [TALLY_QUEUE_FIRST_S] = "Seconds that messages waited which were delivered at their first attempt, summed up.",
        [TALLY_QUEUE_FIRST_COUNT] = "Messages in that sum.",
        [TALLY_IN_ASSOCS] = "Connections to us, by channel.",
        [TALLY_OUT_ASSOCS] = "Jobs begun, by channel.",
        [TALLY_AUTH_OK] = "Authentications that succeeded, by channel.",
        [TALLY_AUTH_FAILED] = "Authentications that failed, by channel.",
    };
    struct tally_list l = { 0 };

    if (env->scheduler == NULL)
        return;
    tally_each(scheduler_tally(env->scheduler), tally_keep, &l);
    for (unsigned k = 0; k < TALLY_KINDS; k++)
        put_kind(out, &l, (enum tally_kind)k);
    for (unsigned n = 0; n < TALLY_NUMBERS; n++) {
        char name[NAME_BYTES];

        snprintf(name, sizeof name, "posthouse_channel_%s_total", tally_number_names[n]);
        family(out, name, help[n], true);
        for (size_t i = 0; i < l.count; i++)
            sample(out, name, l.items[i].channel, NULL, l.items[i].numbers[n]);
    }
    mem_free(l.items);
}

/* --- what waits --------------------------------------------------------------------------------------------------- */

struct waiting {
    char channel[CHANNEL_NAME_MAX + 1];
    struct queue_sum sum;
    uint64_t active, deferred, jobs, destinations, dead;
    int64_t oldest_ms; /* wall; 0: none */
    bool is_stopped;
};
struct waiting_list {
    struct waiting *items;
    size_t count;
};

static struct waiting *waiting_find(struct waiting_list *l, const char *channel)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->items[i].channel, channel) == 0)
            return &l->items[i];
    return NULL;
}

static void dest_add(void *arg, const struct dest_row *row)
{
    struct waiting *w = waiting_find(arg, row->channel);

    if (w == NULL)
        return;
    w->active += row->active;
    w->deferred += row->deferred;
    w->destinations++;
    w->dead += row->is_dead;
    if (row->oldest_ms != 0 && (w->oldest_ms == 0 || row->oldest_ms < w->oldest_ms))
        w->oldest_ms = row->oldest_ms;
}

static void job_add(void *arg, const struct job_row *row)
{
    struct waiting *w = waiting_find(arg, row->channel);

    if (w != NULL)
        w->jobs++;
}

static void put_entries(struct buf *out, const struct waiting_list *l)
{
    static const char name[] = "posthouse_queue_entries";

    family(out, name, "Entries of the queue, by channel and state.", false);
    for (size_t i = 0; i < l->count; i++) {
        const struct waiting *w = &l->items[i];
        uint64_t rest = w->sum.entries - w->sum.held; /* the moments of the two numbers differ a little */
        uint64_t active = w->active < rest ? w->active : rest;
        uint64_t deferred = w->deferred < rest - active ? w->deferred : rest - active;

        sample(out, name, w->channel, "ready", (int64_t)(rest - active - deferred));
        sample(out, name, w->channel, "active", (int64_t)active);
        sample(out, name, w->channel, "deferred", (int64_t)deferred);
        sample(out, name, w->channel, "held", (int64_t)w->sum.held);
    }
}

enum gauge { G_RECIPIENTS, G_BYTES, G_OLDEST, G_DESTINATIONS, G_DEAD, G_JOBS, G_STOPPED, GAUGES };

static int64_t gauge_of(const struct waiting *w, unsigned gauge, int64_t now_ms)
{
    switch (gauge) {
    case G_RECIPIENTS:
        return (int64_t)w->sum.recipients;
    case G_BYTES:
        return (int64_t)w->sum.bytes;
    case G_OLDEST:
        return w->oldest_ms != 0 && w->oldest_ms < now_ms ? (now_ms - w->oldest_ms) / 1000 : 0;
    case G_DESTINATIONS:
        return (int64_t)w->destinations;
    case G_DEAD:
        return (int64_t)w->dead;
    case G_JOBS:
        return (int64_t)w->jobs;
    default:
        return w->is_stopped;
    }
}

static void put_queue(const struct rpc_env *env, const struct conf_set *conf, struct buf *out)
{
    static const struct {
        const char *name, *help;
    } gauges[GAUGES] = {
        [G_RECIPIENTS] = { "posthouse_queue_recipients", "Recipients that wait, by channel." },
        [G_BYTES] = { "posthouse_queue_bytes", "Octets of the messages that wait, by channel." },
        [G_OLDEST] = { "posthouse_queue_oldest_seconds", "Age of the oldest entry, by channel." },
        [G_DESTINATIONS] = { "posthouse_queue_destinations", "Destinations with entries, by channel." },
        [G_DEAD] = { "posthouse_queue_destinations_dead", "Those that cannot be reached." },
        [G_JOBS] = { "posthouse_channel_jobs", "Jobs that run, by channel." },
        [G_STOPPED] = { "posthouse_channel_stopped", "1: an operator stopped the channel." },
    };
    const struct channels_conf *channels = conf_section(conf, CONF_CHANNELS);
    struct waiting_list l = { .count = channels->channel_count };
    int64_t now_ms = clock_wall_ms(&env->site->clock);

    l.items = mem_alloc_array(l.count + 1, sizeof *l.items);
    for (size_t i = 0; i < l.count; i++) {
        struct waiting *w = &l.items[i];

        *w = (struct waiting){ .is_stopped = queue_channel_is_stopped(env->site->queue, channels->channels[i].name) };
        name_copy(w->channel, channels->channels[i].name);
        queue_sum(env->site->queue, channels->channels[i].name, &w->sum);
    }
    if (env->scheduler != NULL) { /* a scheduler that does not answer leaves zeros */
        (void)scheduler_dests(env->scheduler, dest_add, &l);
        (void)scheduler_jobs(env->scheduler, job_add, &l);
    }
    put_entries(out, &l);
    for (unsigned g = 0; g < GAUGES; g++) {
        family(out, gauges[g].name, gauges[g].help, false);
        for (size_t i = 0; i < l.count; i++)
            sample(out, gauges[g].name, l.items[i].channel, NULL, gauge_of(&l.items[i], g, now_ms));
    }
    mem_free(l.items);
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

void metrics_text(const struct rpc_env *env, const struct conf_set *conf, struct buf *out)
{
    family(out, "posthouse_build_info", "Always 1; the label says which version runs.", false);
    buf_put_str(out, "posthouse_build_info");
    label(out, '{', "version", POSTHOUSE_VERSION);
    buf_put_str(out, "} 1\n");
    family(out, "posthouse_uptime_seconds", "Seconds since the start.", false);
    buf_printf(out, "posthouse_uptime_seconds %lld\n",
               (long long)((clock_mono_ms(&env->site->clock) - env->began_ms) / 1000));
    put_counters(out);
    put_tallies(env, out);
    put_queue(env, conf, out);
}
