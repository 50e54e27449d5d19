/* The table of IoT policies that iot-sandbox-broker writes, and the questions asked of it. */
#ifndef IOT_SANDBOX_POLICIES_H
#define IOT_SANDBOX_POLICIES_H

#include <stdbool.h>

#define CERTIFICATE_ID_LENGTH 64 /* SHA-256 of the certificate in hex: what AWS calls its id */

/* One letter an action, as in the table's allow and deny lines. */
enum action { CONNECT = 'C', CONNECT_PERSISTENT = 'K', PUBLISH = 'P', RECEIVE = 'R', RETAIN = 'T', SUBSCRIBE = 'S' };

struct policies;

/* Reads a table; NULL if it cannot be read or is malformed (fault then points to the reason). */
struct policies *policies_load(const char *path, const char **fault);
void policies_free(struct policies *policies);

/* Whether the certificate's policies allow the action to this client on this client id, topic or filter. */
bool policies_allow(const struct policies *policies, const char *certificate, const char *client_id,
		enum action action, const char *name);

#endif
