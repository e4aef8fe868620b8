/* The command table, start-up and shut-down. */
#include "commands/commands.h"
#include "config.h"

int main(int argc, char **argv)
{
  if (PetscInitialize(&argc, &argv, NULL, NULL)) return STATUS_PROGRAM_ERROR;
  if (PetscFinalize()) return STATUS_PROGRAM_ERROR;
  return STATUS_SUCCESS;
}
