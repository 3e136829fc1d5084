/* main.c - the program: one binary, whose first argument says what it is to do. */
#include "config/verbs.h"

int main(int argc, char **argv)
{
    return verb_main(&posthouse_verbs, argc, argv);
}
