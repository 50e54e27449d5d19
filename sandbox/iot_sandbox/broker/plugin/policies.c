/* Policies as lines of tab-separated fields, resolved by iot-sandbox-broker as far as they can be
 * before a client connects:
 *
 *   iot-policies 1
 *   prefix       <what an IoT ARN starts with, up to the resource type>
 *   certificate  <id>                   an active certificate; its clients follow, sorted by id
 *   client       <client id>            rules for this client id; without one: for every other
 *   allow|deny   <actions>  <pattern>   pattern of an ARN; in it byte 1 is the client id, 2 any text, 3 any character
 *   allow-outside|deny-outside  <actions>  <patterns>   ARNs that match none of the patterns, between which is byte 4
 *
 * Action C is any connection, C with N one without a persistent session, K one with it.
 */
#include "policies.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENT_ID '\1'
#define ANY_TEXT '\2'
#define ANY_CHARACTER '\3'
#define OR '\4'
#define CLEAN_ONLY 'N'

struct rule {
	bool deny;
	bool outside;
	const char *actions;
	const char *pattern; /* several: each ends in a null byte */
	size_t pattern_count;
};

struct client {
	const char *id; /* NULL: any id that has no block of its own */
	size_t first, end; /* its rules */
};

struct certificate {
	const char *id;
	size_t first, end; /* its clients */
};

struct policies {
	char *text;
	const char *prefix;
	struct certificate *certificates;
	struct client *clients;
	struct rule *rules;
	size_t certificate_count, client_count, rule_count;
};

static char *read_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	if(!file) return NULL;
	char *text = NULL;
	long size = -1;
	if(fseek(file, 0, SEEK_END) == 0) size = ftell(file);
	if(size >= 0 && fseek(file, 0, SEEK_SET) == 0 && (text = malloc((size_t)size + 1))){
		text[fread(text, 1, (size_t)size, file)] = '\0';
	}
	fclose(file);
	return text;
}

/* Takes one line's fields apart in place; missing ones are NULL. */
static void split(char *line, char *fields[3])
{
	for(int i = 0; i < 3; i++){
		fields[i] = line;
		if(line && (line = strchr(line, '\t'))) *line++ = '\0';
	}
}

static size_t split_patterns(char *patterns)
{
	size_t count = 1;
	while((patterns = strchr(patterns, OR))) *patterns++ = '\0', count++;
	return count;
}

static const char *add_line(struct policies *policies, char *line)
{
	char *fields[3];
	split(line, fields);
	bool outside = strstr(fields[0], "-outside");
	if(outside) *strchr(fields[0], '-') = '\0';
	if(!strcmp(fields[0], "allow") || !strcmp(fields[0], "deny")){
		if(!policies->client_count || !fields[2]) return "a rule outside a client";
		size_t count = split_patterns(fields[2]);
		policies->rules[policies->rule_count++] =
			(struct rule){fields[0][0] == 'd', outside, fields[1], fields[2], count};
		policies->clients[policies->client_count - 1].end = policies->rule_count;
	}else if(!strcmp(fields[0], "client")){
		if(!policies->certificate_count) return "a client outside a certificate";
		policies->clients[policies->client_count++] =
			(struct client){fields[1], policies->rule_count, policies->rule_count};
		policies->certificates[policies->certificate_count - 1].end = policies->client_count;
	}else if(!strcmp(fields[0], "certificate")){
		if(!fields[1] || strlen(fields[1]) != CERTIFICATE_ID_LENGTH) return "a malformed certificate id";
		policies->certificates[policies->certificate_count++] =
			(struct certificate){fields[1], policies->client_count, policies->client_count};
	}else if(!strcmp(fields[0], "prefix") && fields[1]){
		policies->prefix = fields[1];
	}else{
		return "an unknown line";
	}
	return NULL;
}

struct policies *policies_load(const char *path, const char **fault)
{
	struct policies *policies = calloc(1, sizeof *policies);
	*fault = "it cannot be read";
	if(!policies || !(policies->text = read_file(path))) goto failed;

	*fault = "its first line is not that of a policy table of version 1";
	char *rest = policies->text;
	char *line = strsep(&rest, "\n");
	if(strcmp(line, "iot-policies 1") || !rest) goto failed;

	size_t lines = 1;
	for(const char *c = rest; *c; c++) lines += *c == '\n';
	policies->certificates = calloc(lines, sizeof *policies->certificates);
	policies->clients = calloc(lines, sizeof *policies->clients);
	policies->rules = calloc(lines, sizeof *policies->rules);
	*fault = "memory is short";
	if(!policies->certificates || !policies->clients || !policies->rules) goto failed;

	while((line = strsep(&rest, "\n"))){
		if(*line && (*fault = add_line(policies, line))) goto failed;
	}
	*fault = "it has no prefix line";
	if(policies->prefix) return policies;

failed:
	policies_free(policies);
	return NULL;
}

void policies_free(struct policies *policies)
{
	if(!policies) return;
	free(policies->certificates);
	free(policies->clients);
	free(policies->rules);
	free(policies->text);
	free(policies);
}

static int compare_certificates(const void *id, const void *certificate)
{
	return strcmp(id, ((const struct certificate *)certificate)->id);
}

static const struct client *find_client(const struct policies *policies, const char *certificate, const char *id)
{
	const struct certificate *found = bsearch(certificate, policies->certificates, policies->certificate_count,
			sizeof *found, compare_certificates);
	const struct client *any = NULL;
	for(size_t i = found ? found->first : 0; found && i < found->end; i++){
		const struct client *client = &policies->clients[i];
		if(!client->id) any = client;
		else if(!strcmp(client->id, id)) return client;
	}
	return any;
}

/* The ARN is given in three parts, so that none is copied for each message. */
struct arn {
	const char *parts[3];
	size_t lengths[3];
	size_t length;
};

static char arn_at(const struct arn *arn, size_t i)
{
	int part = 0;
	while(i >= arn->lengths[part]) i -= arn->lengths[part++];
	return arn->parts[part][i];
}

static bool arn_has(const struct arn *arn, size_t at, const char *text, size_t length)
{
	if(arn->length - at < length) return false;
	for(size_t i = 0; i < length; i++){
		if(arn_at(arn, at + i) != text[i]) return false;
	}
	return true;
}

static bool matches(const char *pattern, const struct arn *arn, const char *client_id)
{
	const char *after_star = NULL;
	size_t at = 0, star_at = 0, client_id_length = strlen(client_id);
	while(*pattern || at < arn->length){
		if(*pattern == ANY_TEXT){
			after_star = ++pattern;
			star_at = at;
			continue;
		}
		bool is_client_id = *pattern == CLIENT_ID;
		if(*pattern && (is_client_id ? arn_has(arn, at, client_id, client_id_length)
				: at < arn->length && (*pattern == ANY_CHARACTER || *pattern == arn_at(arn, at)))){
			at += is_client_id ? client_id_length : 1;
			pattern++;
			continue;
		}
		if(!after_star || star_at >= arn->length) return false;
		at = ++star_at;
		pattern = after_star;
	}
	return true;
}

static const char *resource_type(enum action action)
{
	switch(action){
		case CONNECT: return "client/";
		case SUBSCRIBE: return "topicfilter/";
		case CONNECT_PERSISTENT: return "client/";
		default: return "topic/";
	}
}

static bool is_about(const struct rule *rule, enum action action)
{
	if(strchr(rule->actions, action)) return true;
	return action == CONNECT_PERSISTENT && strchr(rule->actions, CONNECT) && !strchr(rule->actions, CLEAN_ONLY);
}

static bool applies(const struct rule *rule, const struct arn *arn, const char *client_id)
{
	const char *pattern = rule->pattern;
	for(size_t i = 0; i < rule->pattern_count; i++, pattern += strlen(pattern) + 1){
		if(matches(pattern, arn, client_id)) return !rule->outside;
	}
	return rule->outside;
}

bool policies_allow(const struct policies *policies, const char *certificate, const char *client_id,
		enum action action, const char *name)
{
	const struct client *client = find_client(policies, certificate, client_id);
	if(!client) return false;
	struct arn arn = {.parts = {policies->prefix, resource_type(action), name}};
	for(int i = 0; i < 3; i++) arn.length += arn.lengths[i] = strlen(arn.parts[i]);

	bool allowed = false;
	for(size_t i = client->first; i < client->end; i++){
		const struct rule *rule = &policies->rules[i];
		if((allowed && !rule->deny) || !is_about(rule, action) || !applies(rule, &arn, client_id)) continue;
		if(rule->deny) return false;
		allowed = true;
	}
	return allowed;
}
