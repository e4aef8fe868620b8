# The manual page, made from the program's own help, and the files that travel with a release.
dist_man_MANS = doc/perturbdiff.1
dist_doc_DATA = README.md CHANGELOG.md CITATION.cff LICENSE
data_folders = inputs jobscripts tests/data validation
EXTRA_DIST += .clang-format doc/demo-scores.svg doc/scaling.md doc/scaling.svg doc/scaling-strong.svg doc/make-man doc/perturbdiff.1.in $(data_folders)
CLEANFILES += doc/perturbdiff.1 doc/perturbdiff.1.new

# A release brings the page along and it is newer than what it is made from, so that only a changed program is asked.
doc/perturbdiff.1: doc/make-man doc/perturbdiff.1.in configure.ac src/runtime/options.c $(program_sources) | perturbdiff$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) doc && ASAN_OPTIONS=detect_leaks=0 $(SHELL) $(srcdir)/doc/make-man ./perturbdiff$(EXEEXT) $(srcdir)/doc/perturbdiff.1.in >$@.new && mv $@.new $@

# The public headers keep their folders below includedir; input files, real cells and job scripts lie beside the documentation as examples.
EXTRA_DIST += $(public_headers)
install-data-local:
	@for header in $(public_headers); do \
	  echo " header: $(includedir)/$${header#include/}"; \
	  target="$(DESTDIR)$(includedir)/$${header#include/}"; \
	  $(MKDIR_P) "$${target%/*}" && $(INSTALL_DATA) "$(srcdir)/$$header" "$$target" || exit 1; \
	done
	@cd "$(srcdir)" && find inputs jobscripts -type f | while IFS= read -r file; do \
	  echo " examples: $(docdir)/$$file"; \
	  $(MKDIR_P) "$(DESTDIR)$(docdir)/$${file%/*}" && cp "$$file" "$(DESTDIR)$(docdir)/$$file" && chmod 644 "$(DESTDIR)$(docdir)/$$file" || exit 1; \
	done

uninstall-local:
	rm -rf "$(DESTDIR)$(includedir)/perturbdiff"
	rm -rf "$(DESTDIR)$(docdir)/inputs" "$(DESTDIR)$(docdir)/jobscripts"

installcheck-local:
	CC='$(CC)' MPIEXEC='$(MPIEXEC)' PKG_CONFIG='$(PKG_CONFIG)' prefix_bin='$(bindir)' prefix_lib='$(libdir)' prefix_include='$(includedir)' \
	  $(SHELL) $(srcdir)/tests/installed

# A release made from the repository holds its files, all of them, and nothing else of the data folders.
dist-hook:
	@test -e "$(srcdir)/.git" || exit 0; \
	list=`git -C "$(srcdir)" ls-files` || exit 1; \
	(cd "$(distdir)" && find $(data_folders) -type f) | while IFS= read -r file; do \
	  printf '%s\n' "$$list" | grep -qxF -e "$$file" || rm -f "$(distdir)/$$file"; \
	done; \
	find "$(distdir)" -depth -type d -empty -exec rmdir {} +; \
	left_out=`printf '%s\n' "$$list" | grep -vE '^\.(ci|git)' | while IFS= read -r file; do test -e "$(distdir)/$$file" || echo "  $$file"; done`; \
	test -z "$$left_out" || { echo "make dist: these files are in no list of the Makefile (sources, EXTRA_DIST):"; echo "$$left_out"; exit 1; }
