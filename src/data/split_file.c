/* Split files: the flat list of statements, and its reader for YAML. */
#include "data/split_file.h"
#include <perturbdiff/runtime/error.h>
#include <yaml.h>

PetscErrorCode splitfile_add(SplitFile *file, int depth, const char *const *path, const char *value, int line)
{
  PetscFunctionBeginUser;
  if (file->count == file->capacity) {
    file->capacity = file->capacity ? 2 * file->capacity : 64;
    PetscCall(PetscRealloc((size_t)file->capacity * sizeof *file->statement, &file->statement));
  }
  SplitStatement *statement = &file->statement[file->count++];
  *statement                = (SplitStatement){.depth = depth, .line = line};
  for (int i = 0; i < depth; i++) PetscCall(PetscStrallocpy(path[i], &statement->path[i]));
  PetscCall(PetscStrallocpy(value, &statement->value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode splitfile_free(SplitFile *file)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < file->count; i++) {
    for (int d = 0; d < file->statement[i].depth; d++) PetscCall(PetscFree(file->statement[i].path[d]));
    PetscCall(PetscFree(file->statement[i].value));
  }
  PetscCall(PetscFree(file->statement));
  *file = (SplitFile){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode walk(const char *file_path, yaml_document_t *document, yaml_node_t *node, int depth, const char **path, SplitFile *file)
{
  const int line = (int)node->start_mark.line + 1;

  PetscFunctionBeginUser;
  if (node->type == YAML_SCALAR_NODE) {
    const char *value = (const char *)node->data.scalar.value;
    /* "fewshot:" with nothing below it. */
    if (!*value && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) PetscFunctionReturn(PETSC_SUCCESS);
    PetscCall(splitfile_add(file, depth, path, value, line));
  } else if (node->type == YAML_SEQUENCE_NODE) {
    for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
      yaml_node_t *member = yaml_document_get_node(document, *item);
      if (member->type != YAML_SCALAR_NODE) return error_user("%s, line %d: a list in a split file holds plain names only", file_path, (int)member->start_mark.line + 1);
      PetscCall(walk(file_path, document, member, depth, path, file));
    }
  } else {
    if (depth == SPLIT_DEPTH) return error_user("%s, line %d: nested too deep for a split file", file_path, line);
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
      const yaml_node_t *key = yaml_document_get_node(document, pair->key);
      if (key->type != YAML_SCALAR_NODE) return error_user("%s, line %d: a key must be a plain name", file_path, (int)key->start_mark.line + 1);
      path[depth] = (const char *)key->data.scalar.value;
      PetscCall(walk(file_path, document, yaml_document_get_node(document, pair->value), depth + 1, path, file));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode splitfile_parse_yaml(const char *path, const char *text, size_t length, SplitFile *file)
{
  const char     *keys[SPLIT_DEPTH];
  yaml_parser_t   parser;
  yaml_document_t document;
  PetscErrorCode  code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  if (!yaml_parser_initialize(&parser)) SETERRQ(PETSC_COMM_SELF, PETSC_ERR_LIB, "libyaml");
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
  if (!yaml_parser_load(&parser, &document)) {
    code = error_user("%s, line %d: not YAML: %s", path, (int)parser.problem_mark.line + 1, parser.problem ? parser.problem : "it does not parse");
    yaml_parser_delete(&parser);
    return code;
  }
  yaml_node_t *root = yaml_document_get_root_node(&document);
  if (!root) code = error_user("%s: the split file is empty", path);
  else if (root->type != YAML_MAPPING_NODE) code = error_user("%s, line 1: a split file begins with a key such as 'test:' or 'zeroshot:'", path);
  else code = walk(path, &document, root, 0, keys, file);
  yaml_document_delete(&document);
  yaml_parser_delete(&parser);
  PetscFunctionReturn(code);
}
