/* Makes mosquitto treat devices as AWS IoT Core does: by their certificates' policies, and with every
 * publish handed to the rules engine together with who sent it.
 *
 * A device's publish is kept under
 *   $sandbox/rules/<received, ms>/<trace id>/<certificate id>/<address>/<client id in hex>/<topic>
 * where only the rules engine may read, and is then published on its own topic for other devices.
 * The stored message is the rules engine's, because only that one survives a stop of the broker
 * between its PUBACK and its delivery. Below "$", devices may only publish to $aws/rules/<rule>/<topic>
 * (Basic Ingest), which the rules engine alone gets.
 */
#include "policies.h"

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#define RULES_PREFIX "$sandbox/rules/"
#define SHARE_PREFIX "$share/"
#define BASIC_INGEST_PREFIX "$aws/rules/"
#define RULES_ENGINE "$sandbox-rules-engine" /* client id and user name; only the local socket may use it */
#define RELOAD_MS 200
/* IoT Core's limits, in bytes */
#define CLIENT_ID_LIMIT 128
#define TOPIC_LIMIT 256
#define SLASH_LIMIT 7
#define PAYLOAD_LIMIT 131072

/* A connection that is open: its device must be cut off once its policies no longer let it connect. */
struct connection {
	struct connection *next;
	const struct mosquitto *client;
	bool forbidden;
	enum action action; /* CONNECT, or CONNECT_PERSISTENT */
	char certificate[CERTIFICATE_ID_LENGTH + 1];
	char id[];
};

static mosquitto_plugin_id_t *plugin_id;
static char *table_path;
static struct policies *policies;
static struct stat table_seen;
static int64_t next_reload_ms;
static struct connection *connections;

static int64_t now_ms(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static bool is_rules_engine(const struct mosquitto *client)
{
	const char *user = mosquitto_client_username(client);
	return user && !strcmp(user, RULES_ENGINE);
}

/* AWS refuses them too; no pattern of the table can hold them. */
static bool has_control_characters(const char *text)
{
	for(; *text; text++) if((unsigned char)*text < ' ') return true;
	return false;
}

/* What follows $aws/rules/<rule>/, or NULL: https://docs.aws.amazon.com/iot/latest/developerguide/iot-basic-ingest.html */
static const char *basic_ingest_topic(const char *topic)
{
	if(strncmp(topic, BASIC_INGEST_PREFIX, strlen(BASIC_INGEST_PREFIX))) return NULL;
	const char *rule = topic + strlen(BASIC_INGEST_PREFIX);
	const char *slash = strchr(rule, '/');
	return slash && slash != rule && slash[1] ? slash + 1 : NULL;
}

static bool is_within_limits(const char *topic)
{
	int slashes = 0;
	if(!strncmp(topic, SHARE_PREFIX, strlen(SHARE_PREFIX))) slashes -= 2; /* the share's name does not count */
	for(const char *c = topic; *c; c++) slashes += *c == '/';
	return strlen(topic) <= TOPIC_LIMIT && slashes <= SLASH_LIMIT && !has_control_characters(topic);
}

static bool may(const struct mosquitto *client, enum action action, const char *name)
{
	const char *certificate = mosquitto_client_username(client);
	return policies && certificate
		&& policies_allow(policies, certificate, mosquitto_client_id(client), action, name);
}

/* ---- connecting ---- */

static bool certificate_id(X509 *certificate, char id[CERTIFICATE_ID_LENGTH + 1])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int length = 0;
	if(!X509_digest(certificate, EVP_sha256(), digest, &length)) return false;
	for(unsigned int i = 0; i < length; i++) snprintf(id + 2 * i, 3, "%02x", digest[i]);
	return true;
}

static int admit_local(struct mosquitto *client)
{
	if(strcmp(mosquitto_client_id(client), RULES_ENGINE)) return MOSQ_ERR_AUTH;
	return mosquitto_set_username(client, RULES_ENGINE);
}

static int remember(struct mosquitto *client, const char *certificate, const char *id, enum action action)
{
	struct connection *connection = malloc(sizeof *connection + strlen(id) + 1);
	if(!connection) return MOSQ_ERR_NOMEM;
	connection->client = client;
	connection->forbidden = false;
	connection->action = action;
	strcpy(connection->certificate, certificate);
	strcpy(connection->id, id);
	connection->next = connections;
	connections = connection;
	return MOSQ_ERR_SUCCESS;
}

static int on_connect(int event, void *event_data, void *user_data)
{
	(void)event, (void)user_data;
	struct mosquitto *client = ((struct mosquitto_evt_basic_auth *)event_data)->client;
	const char *id = mosquitto_client_id(client);
	X509 *certificate = mosquitto_client_certificate(client);
	if(!certificate) return admit_local(client); /* the TLS listener requires one */

	char certificate_name[CERTIFICATE_ID_LENGTH + 1];
	bool identified = certificate_id(certificate, certificate_name);
	X509_free(certificate);
	if(!identified || mosquitto_set_username(client, certificate_name)) return MOSQ_ERR_AUTH;

	enum action action = mosquitto_client_clean_session(client) ? CONNECT : CONNECT_PERSISTENT;
	if(id[0] == '$' || strlen(id) > CLIENT_ID_LIMIT || has_control_characters(id) || !may(client, action, id)){
		mosquitto_log_printf(MOSQ_LOG_NOTICE, "Client id %s is refused: certificate %s is not active "
				"or no policy of it allows iot:Connect", id, certificate_name);
		return MOSQ_ERR_AUTH;
	}
	return remember(client, certificate_name, id, action);
}

static int on_disconnect(int event, void *event_data, void *user_data)
{
	(void)event, (void)user_data;
	const struct mosquitto *client = ((struct mosquitto_evt_disconnect *)event_data)->client;
	for(struct connection **link = &connections; *link; link = &(*link)->next){
		struct connection *connection = *link;
		if(connection->client != client) continue;
		*link = connection->next;
		free(connection);
		break;
	}
	return MOSQ_ERR_SUCCESS;
}

/* ---- publishing and subscribing ---- */

/* IoT Core closes the connection of a client that publishes where it may not. Over MQTT 5 the
 * PUBACK says so first, and the next tick closes; MQTT 3 has no such PUBACK. */
static int forbid(struct mosquitto *client, const char *topic)
{
	const char *id = mosquitto_client_id(client);
	mosquitto_log_printf(MOSQ_LOG_NOTICE, "Client %s may not publish to %s and is disconnected", id, topic);
	if(mosquitto_client_protocol_version(client) < 5) return MOSQ_ERR_AUTH;
	for(struct connection *c = connections; c; c = c->next) if(c->client == client) c->forbidden = true;
	return MOSQ_ERR_ACL_DENIED;
}

static int on_access(int event, void *event_data, void *user_data)
{
	(void)event, (void)user_data;
	const struct mosquitto_evt_acl_check *check = event_data;
	if(is_rules_engine(check->client) || check->access == MOSQ_ACL_UNSUBSCRIBE) return MOSQ_ERR_SUCCESS;

	bool shared = check->access == MOSQ_ACL_SUBSCRIBE && !strncmp(check->topic, SHARE_PREFIX, strlen(SHARE_PREFIX));
	bool possible = is_within_limits(check->topic) && (check->topic[0] != '$' || shared);
	const char *ingested = check->access == MOSQ_ACL_WRITE ? basic_ingest_topic(check->topic) : NULL;
	if(ingested) possible = is_within_limits(ingested); /* the prefix does not count */
	switch(check->access){
		case MOSQ_ACL_READ:
			return possible && may(check->client, RECEIVE, check->topic) ? MOSQ_ERR_SUCCESS : MOSQ_ERR_ACL_DENIED;
		case MOSQ_ACL_SUBSCRIBE:
			return possible && may(check->client, SUBSCRIBE, check->topic) ? MOSQ_ERR_SUCCESS : MOSQ_ERR_ACL_DENIED;
		case MOSQ_ACL_WRITE:
			if(check->payloadlen > PAYLOAD_LIMIT) return MOSQ_ERR_OVERSIZE_PACKET; /* ends the connection */
			if(possible && may(check->client, PUBLISH, check->topic)
					&& (!check->retain || may(check->client, RETAIN, check->topic))) return MOSQ_ERR_SUCCESS;
			return forbid(check->client, check->topic);
	}
	return MOSQ_ERR_ACL_DENIED;
}

static void write_trace_id(char id[37])
{
	unsigned char b[16];
	if(getrandom(b, sizeof b, 0) != sizeof b) abort(); /* cannot fail for so few bytes once the system is up */
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	snprintf(id, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
			b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static char *rules_topic(const struct mosquitto *client, const char *topic)
{
	bool republished = is_rules_engine(client); /* IoT Core knows no client of those */
	const char *id = republished ? "n/a" : mosquitto_client_id(client);
	const char *certificate = republished ? "-" : mosquitto_client_username(client);
	const char *address = republished ? "" : mosquitto_client_address(client);
	char trace_id[37];
	write_trace_id(trace_id);

	size_t size = sizeof RULES_PREFIX + 128 + strlen(certificate) + strlen(address) + 2 * strlen(id) + strlen(topic);
	char *result = mosquitto_malloc(size);
	if(!result) return NULL;
	int length = snprintf(result, size, RULES_PREFIX "%lld/%s/%s/%s/", (long long)now_ms(CLOCK_REALTIME), trace_id,
			certificate, address);
	for(const char *c = id; *c; c++) length += snprintf(result + length, 3, "%02x", (unsigned char)*c);
	snprintf(result + length, size - (size_t)length, "/%s", topic);
	return result;
}

static int on_message(int event, void *event_data, void *user_data)
{
	(void)event, (void)user_data;
	struct mosquitto_evt_message *message = event_data;
	char *topic = rules_topic(message->client, message->topic);
	mosquitto_property *properties = NULL;
	if(!topic) return MOSQ_ERR_NOMEM;
	if(basic_ingest_topic(message->topic)) goto replace; /* no other device gets it */
	if(message->properties && mosquitto_property_copy_all(&properties, message->properties)) goto failed;
	if(mosquitto_broker_publish_copy(NULL, message->topic, (int)message->payloadlen, message->payload, message->qos,
				message->retain, properties)) goto failed;
replace:
	mosquitto_free(message->topic);
	message->topic = topic;
	message->retain = false;
	return MOSQ_ERR_SUCCESS;

failed:
	mosquitto_free(topic);
	mosquitto_property_free_all(&properties);
	return MOSQ_ERR_NOMEM;
}

/* ---- following the table ---- */

static void reload_changed_table(void)
{
	static bool missing;
	struct stat now;
	if(stat(table_path, &now)){
		if(!missing) mosquitto_log_printf(MOSQ_LOG_WARNING, "Policy table %s is not there yet: no device may "
				"connect until iot-sandbox-broker has written it", table_path);
		missing = true;
		return;
	}
	missing = false;
	if(now.st_ino == table_seen.st_ino && now.st_size == table_seen.st_size
			&& now.st_mtim.tv_sec == table_seen.st_mtim.tv_sec
			&& now.st_mtim.tv_nsec == table_seen.st_mtim.tv_nsec) return;
	table_seen = now;

	const char *fault;
	struct policies *loaded = policies_load(table_path, &fault);
	if(!loaded){
		mosquitto_log_printf(MOSQ_LOG_ERR, "Policy table %s is not used: %s", table_path, fault);
		return;
	}
	policies_free(policies);
	policies = loaded;
	mosquitto_log_printf(MOSQ_LOG_INFO, "Policy table is loaded");
	for(struct connection *c = connections; c; c = c->next){
		c->forbidden |= !policies_allow(policies, c->certificate, c->id, c->action, c->id);
	}
}

/* Kicking takes the connection off the list, so the search starts anew after each. */
static void cut_forbidden(void)
{
	struct connection *connection = connections;
	while(connection){
		if(!connection->forbidden){
			connection = connection->next;
			continue;
		}
		connection->forbidden = false;
		char *id = strdup(connection->id);
		if(!id) return;
		mosquitto_log_printf(MOSQ_LOG_NOTICE, "Client %s is cut off: its certificate or policies forbid it", id);
		mosquitto_kick_client_by_clientid(id, true);
		free(id);
		connection = connections;
	}
}

static int on_tick(int event, void *event_data, void *user_data)
{
	(void)event, (void)event_data, (void)user_data;
	if(now_ms(CLOCK_MONOTONIC) >= next_reload_ms){
		next_reload_ms = now_ms(CLOCK_MONOTONIC) + RELOAD_MS;
		reload_changed_table();
	}
	cut_forbidden();
	return MOSQ_ERR_SUCCESS;
}

/* ---- mosquitto's entry points ---- */

static const struct { int event; MOSQ_FUNC_generic_callback callback; } callbacks[] = {
	{MOSQ_EVT_BASIC_AUTH, on_connect}, {MOSQ_EVT_DISCONNECT, on_disconnect}, {MOSQ_EVT_ACL_CHECK, on_access},
	{MOSQ_EVT_MESSAGE, on_message}, {MOSQ_EVT_TICK, on_tick},
};

int mosquitto_plugin_version(int count, const int *versions)
{
	for(int i = 0; i < count; i++) if(versions[i] == 5) return 5;
	return -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **user_data, struct mosquitto_opt *options, int count)
{
	(void)user_data;
	plugin_id = id;
	for(int i = 0; i < count; i++) if(!strcmp(options[i].key, "table")) table_path = strdup(options[i].value);
	if(!table_path){
		mosquitto_log_printf(MOSQ_LOG_ERR, "plugin_opt_table is missing: the path of the policy table");
		return MOSQ_ERR_INVAL;
	}
	reload_changed_table();
	for(size_t i = 0; i < sizeof callbacks / sizeof *callbacks; i++){
		int rc = mosquitto_callback_register(id, callbacks[i].event, callbacks[i].callback, NULL, NULL);
		if(rc) return rc;
	}
	return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_cleanup(void *user_data, struct mosquitto_opt *options, int count)
{
	(void)user_data, (void)options, (void)count;
	for(size_t i = 0; i < sizeof callbacks / sizeof *callbacks; i++){
		mosquitto_callback_unregister(plugin_id, callbacks[i].event, callbacks[i].callback, NULL);
	}
	while(connections){
		struct connection *next = connections->next;
		free(connections);
		connections = next;
	}
	policies_free(policies);
	free(table_path);
	return MOSQ_ERR_SUCCESS;
}
