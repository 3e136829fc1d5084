/* server.h - the daemon: everything wired together, from start to stop.
 *
 * Order:    spawner (before any thread), configuration, journal with its rooms, authentication, intake, status socket,
 *           listeners; then READY=1 to the service manager. A stop undoes it in reverse, and nothing that was answered
 *           depends on how far it comes.
 * Signals:  SIGTERM and SIGINT stop: running commands finish, at most net.stop_grace_s. SIGHUP reads posthouse.json
 *           again. A document with problems changes nothing; all of them are logged.
 * Threads:  the main one.
 */
#ifndef CONFIG_SERVER_H
#define CONFIG_SERVER_H

#include "control/verb.h"

verb_fn server_verb_run;

#endif
