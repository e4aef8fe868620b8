/* YAML input files, parsed by libyaml and flattened. */
#include "runtime/input.h"
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/file.h>
#include <string.h>
#include <yaml.h>

static PetscErrorCode append(InputEntries *entries, const char *name, const char *value, size_t line)
{
  PetscFunctionBeginUser;
  if (!(entries->count & (entries->count + 1)) || !entries->entry)
    PetscCall(PetscRealloc(sizeof *entries->entry * 2 * (size_t)(entries->count + 1), &entries->entry));
  InputEntry *entry = &entries->entry[entries->count++];
  PetscCall(PetscStrallocpy(name, &entry->name));
  PetscCall(PetscStrallocpy(value, &entry->value));
  entry->line = (PetscInt)line + 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const char *scalar(const yaml_node_t *node) { return (const char *)node->data.scalar.value; }

/* A sequence of scalars as one comma-separated value. */
static PetscErrorCode flatten_sequence(yaml_document_t *document, yaml_node_t *node, const char *path, const char *name, InputEntries *entries)
{
  size_t size = 1, used = 0;
  char  *joined;

  PetscFunctionBeginUser;
  for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
    const yaml_node_t *part = yaml_document_get_node(document, *item);
    if (part->type != YAML_SCALAR_NODE)
      PetscFunctionReturn(error_user("%s:%d: '%s' takes a list of plain values", path, (int)part->start_mark.line + 1, name));
    size += part->data.scalar.length + 1;
  }
  PetscCall(PetscMalloc1(size, &joined));
  joined[0] = '\0';
  for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++)
    used += (size_t)snprintf(joined + used, size - used, "%s%s", used ? "," : "", scalar(yaml_document_get_node(document, *item)));
  PetscCall(append(entries, name, joined, node->start_mark.line));
  PetscCall(PetscFree(joined));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode flatten(yaml_document_t *document, yaml_node_t *node, const char *path, const char *prefix, InputEntries *entries)
{
  PetscFunctionBeginUser;
  for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
    yaml_node_t *key = yaml_document_get_node(document, pair->key), *value = yaml_document_get_node(document, pair->value);
    char         name[256];

    if (key->type != YAML_SCALAR_NODE) PetscFunctionReturn(error_user("%s:%d: a key must be a plain word", path, (int)key->start_mark.line + 1));
    PetscCall(PetscSNPrintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "_" : "", scalar(key)));
    for (PetscInt i = 0; i < entries->count; i++)
      if (!strcmp(entries->entry[i].name, name))
        PetscFunctionReturn(error_user("%s:%d: '%s' was given already at line %d", path, (int)key->start_mark.line + 1, name, (int)entries->entry[i].line));
    if (value->type == YAML_MAPPING_NODE) PetscCall(flatten(document, value, path, name, entries));
    else if (value->type == YAML_SEQUENCE_NODE) PetscCall(flatten_sequence(document, value, path, name, entries));
    else PetscCall(append(entries, name, scalar(value), key->start_mark.line));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode input_read(MPI_Comm comm, const char *path, InputEntries *entries)
{
  char           *text;
  size_t          length;
  yaml_parser_t   parser;
  yaml_document_t document;
  PetscErrorCode  code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  PetscCall(file_read_text(comm, path, &text, &length));
  PetscCheck(yaml_parser_initialize(&parser), PETSC_COMM_SELF, PETSC_ERR_MEM, "libyaml");
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
  if (!yaml_parser_load(&parser, &document)) {
    code = error_user("%s:%d: not YAML: %s", path, (int)parser.problem_mark.line + 1, parser.problem ? parser.problem : "unreadable");
  } else {
    yaml_node_t *root = yaml_document_get_root_node(&document);
    if (root && root->type != YAML_MAPPING_NODE) code = error_user("%s: an input file holds 'key: value' lines", path);
    else if (root) code = flatten(&document, root, path, "", entries);
    yaml_document_delete(&document);
  }
  yaml_parser_delete(&parser);
  PetscCall(PetscFree(text));
  PetscFunctionReturn(code);
}

PetscErrorCode input_free(InputEntries *entries)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < entries->count; i++) {
    PetscCall(PetscFree(entries->entry[i].name));
    PetscCall(PetscFree(entries->entry[i].value));
  }
  PetscCall(PetscFree(entries->entry));
  entries->count = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}
