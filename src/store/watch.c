/* watch.c - telling sessions that their mailbox changed.
 *
 * Each reactor with watches has a hub. The committer notes the mailbox in the hubs that watch it and posts once; the
 * hub
 * then calls its watches on its own thread, once per mailbox however many batches came meanwhile. */
#include "store/internal.h"

#include "base/map.h"
#include "base/mem.h"
#include "store/views.h"

#define HUBS_MAX 64u

struct watched { /* a mailbox in a hub; owner: the hub's reactor */
    struct list watches;
};

struct hub {
    struct watch_set *set;
    struct reactor *reactor;
    struct post post;
    struct idmap mailboxes; /* -> struct watched; owner: reactor */
    struct idmap pending; /* mailbox -> struct news; under set->lock */
    bool is_posted;
    uint64_t telling; /* mailbox whose watches are being called, 0: none; owner: reactor */
};

struct news {
    uint64_t modseq;
};

struct watch_set {
    pthread_mutex_t lock; /* lock rank 46: hubs, masks, what is pending */
    struct idmap masks; /* mailbox -> bits of the hubs that watch it, as a pointer-sized number */
    struct hub *hubs[HUBS_MAX];
    unsigned hub_count;
};

struct watch_set *watch_set_new(void)
{
    struct watch_set *w = mem_alloc(sizeof *w);

    pthread_mutex_init(&w->lock, NULL);
    idmap_init(&w->masks);
    return w;
}

static void pending_free(struct idmap *pending)
{
    uint64_t mailbox;
    void *news;

    for (size_t at = 0; idmap_next(pending, &at, &mailbox, &news);)
        mem_free(news);
    idmap_free(pending);
}

void watch_set_destroy(struct watch_set *w)
{
    for (unsigned i = 0; i < w->hub_count; i++) {
        uint64_t mailbox;
        void *watched;

        for (size_t at = 0; idmap_next(&w->hubs[i]->mailboxes, &at, &mailbox, &watched);)
            mem_free(watched);
        idmap_free(&w->hubs[i]->mailboxes);
        pending_free(&w->hubs[i]->pending);
        mem_free(w->hubs[i]);
    }
    idmap_free(&w->masks);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}

/* The reactor's hub, made at its first watch. */
static struct hub *hub_of(struct watch_set *w, struct reactor *reactor, unsigned *number)
{
    struct hub *hub = NULL;

    pthread_mutex_lock(&w->lock);
    for (*number = 0; *number < w->hub_count && hub == NULL; ++*number)
        if (w->hubs[*number]->reactor == reactor)
            hub = w->hubs[*number];
    if (hub != NULL) {
        --*number;
    } else {
        ASSERT(w->hub_count < HUBS_MAX);
        hub = mem_alloc(sizeof *hub);
        hub->set = w;
        hub->reactor = reactor;
        idmap_init(&hub->mailboxes);
        idmap_init(&hub->pending);
        w->hubs[w->hub_count++] = hub;
    }
    pthread_mutex_unlock(&w->lock);
    return hub;
}

static void mask_set(struct watch_set *w, uint64_t mailbox, unsigned hub, bool on)
{
    uintptr_t mask;

    pthread_mutex_lock(&w->lock);
    mask = (uintptr_t)idmap_get(&w->masks, mailbox);
    mask = on ? mask | (uintptr_t)1 << hub : mask & ~((uintptr_t)1 << hub);
    if (mask != 0)
        idmap_put(&w->masks, mailbox, (void *)mask);
    else
        idmap_del(&w->masks, mailbox);
    pthread_mutex_unlock(&w->lock);
}

void store_watch_start(struct store *s, struct store_watch *w, struct reactor *reactor, uint64_t mailbox,
                       void (*fn)(struct store_watch *, uint64_t))
{
    struct watch_set *set = s->views->watches;
    unsigned number;
    struct hub *hub = hub_of(set, reactor, &number);
    struct watched *watched = idmap_get(&hub->mailboxes, mailbox);

    if (watched == NULL) {
        watched = mem_alloc(sizeof *watched);
        list_init(&watched->watches);
        idmap_put(&hub->mailboxes, mailbox, watched);
        mask_set(set, mailbox, number, true);
    }
    w->reactor = reactor;
    w->mailbox = mailbox;
    w->fn = fn;
    w->impl[0] = hub;
    list_push_back(&watched->watches, &w->link);
}

/* Nobody in this reactor watches the mailbox any more. */
static void mailbox_forget(struct hub *hub, uint64_t mailbox)
{
    struct watched *watched = idmap_del(&hub->mailboxes, mailbox);
    unsigned number;

    hub_of(hub->set, hub->reactor, &number);
    mask_set(hub->set, mailbox, number, false);
    mem_free(watched);
}

void store_watch_stop(struct store *s UNUSED, struct store_watch *w)
{
    struct hub *hub = w->impl[0];
    struct watched *watched;

    if (hub == NULL)
        return;
    w->impl[0] = NULL;
    list_remove(&w->link);
    watched = idmap_get(&hub->mailboxes, w->mailbox);
    if (watched != NULL && list_is_empty(&watched->watches) && hub->telling != w->mailbox)
        mailbox_forget(hub, w->mailbox);
}

/* Each watch goes back into the list before it is called, so that it may be stopped, or the others, from there. */
static void mailbox_tell(struct hub *hub, uint64_t mailbox, uint64_t modseq)
{
    struct watched *watched = idmap_get(&hub->mailboxes, mailbox);
    struct list todo;

    if (watched == NULL)
        return;
    hub->telling = mailbox;
    list_init(&todo);
    list_splice(&todo, &watched->watches);
    for (struct list *node; (node = list_pop_front(&todo)) != NULL;) {
        struct store_watch *w = LIST_ENTRY(node, struct store_watch, link);

        list_push_back(&watched->watches, &w->link);
        w->fn(w, modseq);
    }
    hub->telling = 0;
    if (list_is_empty(&watched->watches))
        mailbox_forget(hub, mailbox);
}

static void on_news(struct post *p)
{
    struct hub *hub = CONTAINER_OF(p, struct hub, post);
    struct idmap pending;
    uint64_t mailbox;
    void *news;

    pthread_mutex_lock(&hub->set->lock);
    pending = hub->pending;
    idmap_init(&hub->pending);
    hub->is_posted = false;
    pthread_mutex_unlock(&hub->set->lock);
    for (size_t at = 0; idmap_next(&pending, &at, &mailbox, &news);)
        mailbox_tell(hub, mailbox, ((struct news *)news)->modseq);
    pending_free(&pending);
}

void store_watch_notify(struct store *s, uint64_t mailbox, uint64_t modseq)
{
    struct watch_set *set = s->views->watches;
    uintptr_t mask;

    pthread_mutex_lock(&set->lock);
    mask = (uintptr_t)idmap_get(&set->masks, mailbox);
    for (unsigned i = 0; mask != 0; i++, mask >>= 1) {
        struct hub *hub = set->hubs[i];
        struct news *news;

        if ((mask & 1) == 0)
            continue;
        news = idmap_get(&hub->pending, mailbox);
        if (news == NULL) {
            news = mem_alloc(sizeof *news);
            idmap_put(&hub->pending, mailbox, news);
        }
        news->modseq = modseq;
        if (!hub->is_posted)
            reactor_post(hub->reactor, &hub->post, on_news);
        hub->is_posted = true;
    }
    pthread_mutex_unlock(&set->lock);
}

int store_views_new(struct store *s, struct err *err UNUSED)
{
    s->views = mem_alloc(sizeof *s->views);
    s->views->set = view_set_new();
    s->views->watches = watch_set_new();
    return 0;
}

void store_views_destroy(struct store *s)
{
    if (s->views == NULL)
        return;
    view_set_destroy(s->views->set);
    watch_set_destroy(s->views->watches);
    mem_free(s->views);
    s->views = NULL;
}
