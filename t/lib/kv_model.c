#include "kv_model.h"

#include <string.h>

#include "base/random.h"

static uint64_t mix(uint64_t seed, uint32_t client, uint32_t n)
{
    return seed * 0x9e3779b97f4a7c15u ^ ((uint64_t)client << 32 | n) * 0xbf58476d1ce4e5b9u;
}

void kv_fill(struct buf *out, uint64_t seed, uint32_t client, uint32_t n, uint32_t length)
{
    struct rng rng;
    unsigned char *p = buf_extend(out, length);

    rng_init(&rng, mix(seed, client, n) + 1);
    for (uint32_t i = 0; i < length; i += 8) {
        uint64_t word = rng_next(&rng);

        memcpy(p + i, &word, length - i < 8 ? length - i : 8);
    }
}

void kv_client_init(struct kv_client *c, uint32_t number)
{
    memset(c, 0, sizeof(*c));
    c->client = number;
}

/* --- what to send ------------------------------------------------------------------------------------------------- */

/* How often each kind is sent, of 100. Deletions are frequent enough to keep the state bounded. */
static const unsigned char weights[KV_OP_COUNT] = {
    [KV_OP_CREATE] = 6, [KV_OP_SET] = 22,     [KV_OP_SET_BODY] = 12, [KV_OP_SET_OCTETS] = 5, [KV_OP_SHARE] = 7,
    [KV_OP_DEL] = 10,   [KV_OP_PUSH] = 9,     [KV_OP_POP] = 6,       [KV_OP_MOVE] = 7,       [KV_OP_DROP] = 1,
    [KV_OP_JOB_ADD] = 6, [KV_OP_JOB_DONE] = 5, [KV_OP_FAIL_LATE] = 3, [KV_OP_FAIL_EARLY] = 1,
};
static const unsigned char weights_freeing[KV_OP_COUNT] = {
    [KV_OP_DEL] = 60, [KV_OP_POP] = 15, [KV_OP_DROP] = 10, [KV_OP_JOB_DONE] = 15,
};

static enum kv_what choose(struct rng *rng, const unsigned char w[KV_OP_COUNT])
{
    uint64_t pick = rng_below(rng, 100);

    for (unsigned i = 0; i < KV_OP_COUNT; i++) {
        if (pick < w[i])
            return (enum kv_what)i;
        pick -= w[i];
    }
    return KV_OP_DEL;
}

/* Mostly a key that is there when one is needed; now and then any, so that refusals happen. */
static uint32_t choose_key(struct rng *rng, const struct kv_mbucket *b, uint32_t kind)
{
    uint32_t key = (uint32_t)rng_below(rng, KV_KEYS);

    if (kind == KV_NONE || rng_below(rng, 8) == 0)
        return key;
    for (uint32_t i = 0; i < KV_KEYS; i++) {
        uint32_t have = b->values[(key + i) % KV_KEYS].kind;

        if (have == kind || (kind == KV_INLINE && have != KV_NONE))
            return (key + i) % KV_KEYS;
    }
    return key;
}

static uint32_t choose_length(struct rng *rng, uint32_t max)
{
    /* most contents are short, few are long: the exponent is uniform */
    uint64_t shift = rng_below(rng, 8);

    return (uint32_t)rng_below(rng, ((uint64_t)max >> shift) + 1);
}

void kv_client_next(const struct kv_client *c, const struct kv_plan *plan, struct kv_step *step)
{
    struct rng rng;
    const struct kv_mbucket *b;
    bool is_body;

    rng_init(&rng, mix(plan->seed, c->client, c->answered + 1));
    memset(step, 0, sizeof(*step));
    step->client = c->client;
    step->n = c->answered + 1;
    step->what = choose(&rng, plan->freeing ? weights_freeing : weights);
    step->bucket = (uint32_t)rng_below(&rng, KV_BUCKETS);
    /* a bucket that is not there is made first, seven times out of eight */
    if (!plan->freeing && c->buckets[step->bucket].born == 0 && step->what < KV_OP_JOB_ADD && rng_below(&rng, 8) != 0)
        step->what = KV_OP_CREATE;
    b = &c->buckets[step->bucket];
    step->key = choose_key(&rng, b, step->what == KV_OP_DEL || step->what == KV_OP_MOVE ? KV_INLINE
                                    : step->what == KV_OP_SHARE                          ? KV_BODY
                                                                                         : KV_NONE);
    step->to_bucket = (uint32_t)rng_below(&rng, KV_BUCKETS);
    step->to_key = (uint32_t)rng_below(&rng, KV_KEYS);
    is_body = step->what == KV_OP_SET_BODY || step->what == KV_OP_SET_OCTETS || step->what == KV_OP_JOB_ADD;
    step->length = choose_length(&rng, is_body ? plan->body_max : plan->value_max);
    if (step->what == KV_OP_JOB_DONE)
        step->job = c->job_count > 0 ? c->jobs[rng_below(&rng, c->job_count)].n : step->n + 1;
}

/* --- what it does ------------------------------------------------------------------------------------------------- */

static const struct kv_mvalue *job_find(const struct kv_client *c, uint32_t n)
{
    for (uint32_t i = 0; i < c->job_count; i++) {
        if (c->jobs[i].n == n)
            return &c->jobs[i];
    }
    return NULL;
}

enum err_kind kv_client_expect(const struct kv_client *c, const struct kv_step *s)
{
    const struct kv_mbucket *b = &c->buckets[s->bucket], *to = &c->buckets[s->to_bucket];
    uint32_t have = b->values[s->key].kind;

    switch (s->what) {
    case KV_OP_CREATE:
        return b->born != 0 ? ERR_EXISTS : ERR_NONE;
    case KV_OP_SHARE:
        return to->born == 0 || have != KV_BODY ? ERR_NOTFOUND : ERR_NONE;
    case KV_OP_DEL:
        return have == KV_NONE ? ERR_NOTFOUND : ERR_NONE;
    case KV_OP_MOVE:
        if (have == KV_NONE || to->born == 0)
            return ERR_NOTFOUND;
        return s->bucket == s->to_bucket ? ERR_EXISTS : ERR_NONE;
    case KV_OP_PUSH:
        if (b->born == 0)
            return ERR_NOTFOUND;
        return b->item_count == KV_ITEMS ? ERR_LIMIT : ERR_NONE;
    case KV_OP_POP:
        return b->item_count == 0 ? ERR_NOTFOUND : ERR_NONE;
    case KV_OP_SET:
    case KV_OP_SET_BODY:
    case KV_OP_SET_OCTETS:
    case KV_OP_DROP:
        return b->born == 0 ? ERR_NOTFOUND : ERR_NONE;
    case KV_OP_JOB_ADD:
        return c->job_count == KV_JOBS ? ERR_LIMIT : ERR_NONE;
    case KV_OP_JOB_DONE:
        return job_find(c, s->job) == NULL ? ERR_NOTFOUND : ERR_NONE;
    case KV_OP_FAIL_LATE:
        return ERR_CONFLICT;
    case KV_OP_FAIL_EARLY:
    case KV_OP_COUNT:
        break;
    }
    return ERR_DENIED;
}

static void list_pop(struct kv_mbucket *b)
{
    b->item_count--;
    memmove(b->items, b->items + 1, b->item_count * sizeof(b->items[0]));
    memset(&b->items[b->item_count], 0, sizeof(b->items[0]));
}

static void job_remove(struct kv_client *c, uint32_t n)
{
    uint32_t i = 0;

    while (i < c->job_count && c->jobs[i].n != n)
        i++;
    if (i == c->job_count)
        return;
    c->jobs[i] = c->jobs[--c->job_count];
    memset(&c->jobs[c->job_count], 0, sizeof(c->jobs[0]));
}

void kv_client_apply(struct kv_client *c, const struct kv_step *s)
{
    struct kv_mbucket *b = &c->buckets[s->bucket], *to = &c->buckets[s->to_bucket];
    struct kv_mvalue made = { KV_INLINE, s->n, s->length };

    switch (s->what) {
    case KV_OP_CREATE:
        b->born = s->n;
        break;
    case KV_OP_SET_BODY:
    case KV_OP_SET_OCTETS:
        made.kind = KV_BODY;
        b->values[s->key] = made;
        break;
    case KV_OP_SET:
        b->values[s->key] = made;
        break;
    case KV_OP_SHARE:
        to->values[s->to_key] = b->values[s->key];
        break;
    case KV_OP_DEL:
        memset(&b->values[s->key], 0, sizeof(b->values[0]));
        break;
    case KV_OP_PUSH:
        b->items[b->item_count++] = made;
        break;
    case KV_OP_POP:
        list_pop(b);
        break;
    case KV_OP_MOVE:
        to->values[s->to_key] = b->values[s->key];
        memset(&b->values[s->key], 0, sizeof(b->values[0]));
        b->moves++;
        to->moves++;
        break;
    case KV_OP_DROP:
        memset(b, 0, sizeof(*b));
        break;
    case KV_OP_JOB_ADD:
        made.kind = KV_BODY;
        c->jobs[c->job_count++] = made;
        break;
    case KV_OP_JOB_DONE:
        job_remove(c, s->job);
        break;
    case KV_OP_FAIL_LATE:
    case KV_OP_FAIL_EARLY:
    case KV_OP_COUNT:
        break;
    }
}

uint32_t kv_client_refs(const struct kv_client *c, uint32_t n)
{
    uint32_t refs = 0;

    for (uint32_t i = 0; i < KV_BUCKETS; i++) {
        for (uint32_t k = 0; k < KV_KEYS; k++)
            refs += c->buckets[i].values[k].kind == KV_BODY && c->buckets[i].values[k].n == n;
    }
    for (uint32_t i = 0; i < c->job_count; i++)
        refs += c->jobs[i].n == n;
    return refs;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

void kv_model_init(struct kv_model *m, const struct kv_plan *plan, uint32_t clients)
{
    ASSERT(clients <= KV_CLIENTS_MAX);
    memset(m, 0, sizeof(*m));
    m->plan = *plan;
    m->client_count = clients;
    for (uint32_t i = 0; i < clients; i++)
        kv_client_init(&m->clients[i], i);
}

bool kv_model_line(struct kv_model *m, const char *line, char why[160])
{
    unsigned client = 0, n = 0, kind = 0;
    char verb = 0;
    int fields = sscanf(line, "%c %u %u %u", &verb, &client, &n, &kind);
    struct kv_client *c;
    struct kv_step step;

    why[0] = 0;
    if (fields == 3 && verb == 'P') {
        m->plan.freeing = n != 0;
        return true;
    }
    if (fields == 3 && verb == 'V' && client < m->client_count) {
        m->clients[client].seen = n;
        return true;
    }
    if (fields < 3 || client >= m->client_count || (verb != 'S' && verb != 'A')) {
        snprintf(why, 160, "no such line: %.100s", line);
        return false;
    }
    c = &m->clients[client];
    if (verb == 'S') {
        c->sent = n;
        if (n == c->answered + 1)
            return true;
        snprintf(why, 160, "client %u sends %u after %u", client, n, c->answered);
        return false;
    }
    if (fields != 4 || n != c->answered + 1 || c->sent != n) {
        snprintf(why, 160, "client %u: answer %u after %u, sent %u", client, n, c->answered, c->sent);
        return false;
    }
    kv_client_next(c, &m->plan, &step);
    if (kind == ERR_NONE && kv_client_expect(c, &step) != ERR_NONE) {
        snprintf(why, 160, "client %u: operation %u (%d) succeeded, should be %s", client, n, (int)step.what,
                 err_kind_name(kv_client_expect(c, &step)));
        return false;
    }
    if (kind == ERR_NONE)
        kv_client_apply(c, &step);
    c->answered = n;
    return true;
}

bool kv_model_lines(struct kv_model *m, const char *path, char why[160])
{
    FILE *f = fopen(path, "r");
    char line[100];
    bool is_good = f != NULL;

    if (!is_good)
        snprintf(why, 160, "cannot read %.120s", path);
    while (is_good && fgets(line, sizeof(line), f) != NULL && strchr(line, '\n') != NULL)
        is_good = kv_model_line(m, line, why);
    if (f != NULL)
        fclose(f);
    return is_good;
}

int kv_model_save(const struct kv_model *m, const char *path)
{
    FILE *f = fopen(path, "w");
    size_t done;

    if (f == NULL)
        return -1;
    done = fwrite(m, sizeof(*m), 1, f);
    return fclose(f) == 0 && done == 1 ? 0 : -1;
}

int kv_model_load(struct kv_model *m, const char *path)
{
    FILE *f = fopen(path, "r");
    size_t done;

    if (f == NULL)
        return -1;
    done = fread(m, sizeof(*m), 1, f);
    fclose(f);
    return done == 1 ? 0 : -1;
}
