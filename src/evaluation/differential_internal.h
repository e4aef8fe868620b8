/* Pieces of differential expression that the files of the room share. */
#ifndef EVALUATION_DIFFERENTIAL_INTERNAL_H
#define EVALUATION_DIFFERENTIAL_INTERNAL_H

#include <perturbdiff/evaluation/differential.h>

/* log2 fold and percent change of row at from its means. */
void differential_fold_changes(DifferentialTable *table, size_t at);

/* The line of names, and the lines of one target, of the table as a file. text: not closed by a zero; free with free. */
extern const char differential_names[];
PetscErrorCode    differential_write_target(const DifferentialTable *table, PetscInt target, char **text, size_t *size);

/* Longest text of a number, with the closing zero. */
enum { NUMBER_TEXT = 32 };
/* number_text - the decimal text of the fewest digits that reads back as the same number (single: the same float), of these the nearest, as cell-eval's files hold it: "0.0", "1e-7",
   "NaN", "inf". Length without the closing zero. Much faster than printf: tables have millions of numbers. */
int number_text(double value, PetscBool single, char text[NUMBER_TEXT]);
/* Digits of a whole number, without a closing zero; how many. */
int whole_number_text(uint64_t number, char *text);

#endif
