/* Figures as gnuplot scripts, turned into SVG elements of the page. */
#include "report/report_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const report_colours[8] = {COLOUR_PREDICTED, COLOUR_REAL, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", COLOUR_CONTROL};

/* A line of gnuplot's SVG; its ids, the same in every drawing, get the panel's number. */
static PetscErrorCode add_svg_line(Text *page, const char *line, PetscInt panel)
{
  static const char *const before[] = {" id='", " id=\"", "='#", "=\"#", "url(#"};

  PetscFunctionBeginUser;
  while (*line) {
    size_t mark = 0;
    int    kind = -1;
    for (; line[mark] && kind < 0; mark++)
      for (int b = 0; b < 5; b++)
        if (!strncmp(line + mark, before[b], strlen(before[b]))) kind = b;
    if (kind < 0) {
      PetscCall(text_add(page, "%s", line));
      break;
    }
    mark += strlen(before[kind]) - 1;
    /* A colour is no reference. */
    const PetscBool colour = kind > 1 && strspn(line + mark, "0123456789abcdefABCDEF") >= 6 ? PETSC_TRUE : PETSC_FALSE;
    PetscCall(text_add(page, "%.*s", (int)mark, line));
    if (!colour) PetscCall(text_add(page, "p%d-", (int)panel));
    line += mark;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Titles, which browsers would show as hints, stand within the line that opens a group. */
static void cut_title(char *line)
{
  static const char close[] = "</title>";
  char             *from    = strstr(line, "<title>"), *end = from ? strstr(from, close) : NULL;

  if (end) memmove(from, end + sizeof close - 1, strlen(end + sizeof close - 1) + 1);
}

PetscErrorCode figure_draw(const char *script, int width, int height, PetscInt panel, Text *page, PetscBool *drawn)
{
  char  path[] = "/tmp/perturbdiff-figure-XXXXXX", block[8192];
  int   descriptor;
  FILE *pipe, *svg;

  PetscFunctionBeginUser;
  *drawn = PETSC_FALSE;
  if ((descriptor = mkstemp(path)) < 0) PetscFunctionReturn(PETSC_SUCCESS);
  close(descriptor);
  if ((pipe = popen("gnuplot >/dev/null 2>&1", "w"))) {
    fprintf(pipe, "set encoding utf8\nset terminal svg size %d,%d dynamic font 'Helvetica,Arial,sans-serif,14' linewidth 1.2\nset output '%s'\n", width, height, path);
    fputs(script, pipe);
    fputs("\nunset output\n", pipe);
    const int status = pclose(pipe);
    if (!status && (svg = fopen(path, "r"))) {
      PetscBool inside = PETSC_FALSE;
      while (fgets(block, sizeof block, svg)) {
        if (!inside && strstr(block, "<svg")) inside = PETSC_TRUE;
        if (!inside) continue;
        cut_title(block);
        PetscCall(panel ? add_svg_line(page, block, panel) : text_add(page, "%s", block));
        *drawn = PETSC_TRUE;
      }
      fclose(svg);
    }
  }
  unlink(path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode figure_style(Text *script)
{
  PetscFunctionBeginUser;
  PetscCall(text_add(script, "set border 3 linecolor '#666666'\nset tics nomirror textcolor '#222222'\nset xlabel textcolor '#222222'\nset ylabel textcolor '#222222'\n"
                             "set title textcolor '#222222' noenhanced\nset grid xtics ytics linecolor '#e6e6e6' linetype 1 linewidth 0.6\nset key noenhanced textcolor '#222222' samplen 1.5\n"));
  for (int i = 0; i < 8; i++) PetscCall(text_add(script, "set linetype %d linecolor '%s' linewidth 2 pointtype 7 pointsize 0.5\n", i + 1, report_colours[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode legend_entry(Text *script, const char *name, int shape, const char *colour, double x, double y)
{
  PetscFunctionBeginUser;
  PetscCall(text_add(script, "set label "));
  PetscCall(text_add_quoted(script, name));
  PetscCall(text_add(script, " at screen %g,%g left noenhanced point pointtype %d pointsize 1 linecolor '%s' offset 1,-0.25 textcolor '#222222' font ',13'\n", x, y, shape, colour));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode figure_begin(Page *page, const char *id)
{
  PetscFunctionBeginUser;
  if (page->gnuplot) PetscCall(text_add(&page->text, "<figure id=\"figure-%s\"><div class=\"panels\">\n", id));
  PetscFunctionReturn(PETSC_SUCCESS);
}

enum { WIDE = 600 };

PetscErrorCode figure_panel(Page *page, Text *script, int width, int height, const char *label)
{
  PetscBool drawn;

  PetscFunctionBeginUser;
  if (page->gnuplot && script->used) {
    /* Wide drawings keep their letters readable on a phone: they are scrolled there. */
    PetscCall(text_add(&page->text, "<div class=\"panel%s\" style=\"max-width:%dpx\" role=\"img\" aria-label=\"", width > WIDE ? " large\" tabindex=\"0" : "", 6 * width / 5));
    PetscCall(text_add_escaped(&page->text, label));
    PetscCall(text_add(&page->text, "\">"));
    PetscCall(figure_draw(script->text, width, height, ++page->panels, &page->text, &drawn));
    if (!drawn) PetscCall(text_add(&page->text, "gnuplot could not draw this figure."));
    PetscCall(text_add(&page->text, "</div>\n"));
  }
  PetscCall(PetscFree(script->text));
  *script = (Text){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode figure_end(Page *page, const char *caption)
{
  PetscFunctionBeginUser;
  if (page->gnuplot) PetscCall(text_add(&page->text, "</div><figcaption><b>Figure %d.</b> %s</figcaption></figure>\n", (int)++page->figures, caption));
  PetscFunctionReturn(PETSC_SUCCESS);
}
