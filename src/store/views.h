/* views.h - private to the store: what view.c and watch.c share. */
#ifndef STORE_VIEWS_H
#define STORE_VIEWS_H

struct view_set;
struct watch_set;

struct store_views {
    struct view_set *set;
    struct watch_set *watches;
};

struct view_set *view_set_new(void);
void view_set_destroy(struct view_set *set);
struct watch_set *watch_set_new(void);
void watch_set_destroy(struct watch_set *w);

#endif
