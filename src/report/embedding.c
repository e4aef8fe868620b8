/* What embed wrote: distances between measured populations and from their controls, and how they were split. */
#include "report/report_internal.h"
#include <math.h>
#include <string.h>

/* Rows of the table in the page at most. */
enum { SHOWN = 300 };

PetscErrorCode add_embedding(Page *page, const char *folder)
{
  static const char *const column[] = {"perturbation", "cell_type", "batch", "split", "cells", "control_cells", "energy_distance", "mmd"};
  static const char *const title[]  = {"perturbation", "cell type", "batch", "part", "cells", "control cells", "energy distance to control", "squared MMD to control"};
  static const char *const id[EMBEDDING_FIGURES] = {"populations", "tests", "embedding", "spectrum"};
  EmbeddingFigure          figure[EMBEDDING_FIGURES];
  static const char *const part[]   = {"train", "validation", "test"};
  PetscInt                 populations[3] = {0};
  double                   cells[3]       = {0};
  CsvTable                 t;

  PetscFunctionBeginUser;
  PetscCall(csv_read(folder, "to_control.csv", &t));
  for (PetscInt i = 0; i < t.rows; i++)
    for (int p = 0; p < 3; p++)
      if (!strcmp(csv_text(&t, i, "split"), part[p])) {
        populations[p]++;
        cells[p] += csv_number(&t, i, "cells");
      }
  PetscCall(text_add(&page->text, "<h2 id=\"populations\">Measured populations</h2>\n<p>Perturbed populations and their cells: %d (%.0f) to train on, %d (%.0f) to validate, %d (%.0f) held out as test.</p>\n", (int)populations[0], cells[0],
                     (int)populations[1], cells[1], (int)populations[2], cells[2]));
  PetscCall(embedding_figures(folder, figure));
  for (int k = 0; k < EMBEDDING_FIGURES; k++) {
    if (!figure[k].script.used) continue;
    PetscCall(figure_begin(page, id[k]));
    PetscCall(figure_panel(page, &figure[k].script, figure[k].width, figure[k].height, figure[k].caption));
    PetscCall(figure_end(page, figure[k].caption));
  }
  if (t.rows) {
    PetscCall(text_add(&page->text, "<details><summary>Every population against its control</summary><div class=\"wide\" tabindex=\"0\"><table class=\"sortable\" id=\"table-control\"><thead><tr>"));
    for (int c = 0; c < 8; c++) PetscCall(text_add(&page->text, c < 4 ? "<th class=\"text\">%s</th>" : "<th>%s</th>", title[c]));
    PetscCall(text_add(&page->text, "</tr></thead><tbody>\n"));
    for (PetscInt i = 0; i < PetscMin(t.rows, SHOWN); i++) {
      PetscCall(text_add(&page->text, "<tr>"));
      for (int c = 0; c < 8; c++) {
        PetscCall(text_add(&page->text, c < 4 ? "<td class=\"text\">" : "<td>"));
        if (c < 6) PetscCall(text_add_escaped(&page->text, csv_text(&t, i, column[c])));
        else if (isfinite(csv_number(&t, i, column[c]))) PetscCall(text_add(&page->text, "%.4g", csv_number(&t, i, column[c])));
        PetscCall(text_add(&page->text, "</td>"));
      }
      PetscCall(text_add(&page->text, "</tr>\n"));
    }
    PetscCall(text_add(&page->text, "</tbody></table></div></details>\n"));
  }
  PetscCall(csv_free(&t));
  PetscFunctionReturn(PETSC_SUCCESS);
}
