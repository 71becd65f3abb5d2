# Installs the daemon for systemd; included by the Makefile. As root:
#   make install      [PREFIX=/opt/serviceopt] [PYTHON=/usr/bin/python3] [PACKAGE=.] [PIP_ARGUMENTS=...]
#   make uninstall    [PREFIX=/opt/serviceopt] [PURGE=yes]
# PYTHON must lie outside /home, /root and /tmp: the unit does not see those. PACKAGE may be a wheel, for machines
# without a network. `uninstall` keeps the journal, the caches and the configuration unless PURGE=yes says otherwise.

PREFIX ?= /opt/serviceopt
PYTHON ?= /usr/bin/python3
PACKAGE ?= .
PIP_ARGUMENTS ?=
PURGE ?= no
BINDIR ?= /usr/local/bin
SYSTEMD_SOURCE := $(dir $(lastword $(MAKEFILE_LIST)))

.PHONY: install uninstall

# The umask: the service's user must be able to read what root installs.
install:
	@test "$$(id -u)" = 0 || { echo "make install: run it as root" >&2; exit 1; }
	@case "$(PREFIX)" in \
	  /home/*|/root/*|/tmp/*|/var/tmp/*|/|/usr|/usr/local|/opt) \
	    echo "make install: PREFIX=$(PREFIX): give a directory of its own that the unit can see" >&2; exit 1;; \
	  /*) ;; *) echo "make install: PREFIX=$(PREFIX): give an absolute path" >&2; exit 1;; esac
	umask 022 && $(PYTHON) -m venv "$(PREFIX)"
	umask 022 && "$(PREFIX)/bin/pip" install --quiet --disable-pip-version-check --upgrade $(PIP_ARGUMENTS) "$(PACKAGE)"
	install -D -m 0644 $(SYSTEMD_SOURCE)serviceoptd.sysusers.conf /etc/sysusers.d/serviceoptd.conf
	install -D -m 0644 $(SYSTEMD_SOURCE)serviceoptd.tmpfiles.conf /etc/tmpfiles.d/serviceoptd.conf
	sed 's|/opt/serviceopt/|$(PREFIX)/|g' $(SYSTEMD_SOURCE)serviceoptd.service >"$(PREFIX)/serviceoptd.service"
	install -D -m 0644 "$(PREFIX)/serviceoptd.service" /etc/systemd/system/serviceoptd.service
	install -D -m 0644 -t "$(PREFIX)/share/serviceopt/drop-ins" $(SYSTEMD_SOURCE)drop-ins/*.conf
	systemd-sysusers serviceoptd.conf
	systemd-tmpfiles --create serviceoptd.conf
	install -d "$(BINDIR)" && ln -sfn "$(PREFIX)/bin/serviceoptctl" "$(BINDIR)/serviceoptctl"
	systemctl daemon-reload
	@echo "Installed. Next: usermod -aG serviceopt USER; systemctl enable --now serviceoptd;"
	@echo "serviceoptctl doctor --unit -c config.toml. After an upgrade: systemctl restart serviceoptd (runs go on)."

uninstall:
	@test "$$(id -u)" = 0 || { echo "make uninstall: run it as root" >&2; exit 1; }
	@test -x "$(PREFIX)/bin/serviceoptd" -a -f "$(PREFIX)/pyvenv.cfg" \
	  || { echo "make uninstall: $(PREFIX) is no installation of serviceopt" >&2; exit 1; }
	if systemctl cat serviceoptd.service >/dev/null 2>&1; then systemctl disable --now serviceoptd.service; fi
	rm -f /etc/systemd/system/serviceoptd.service /etc/sysusers.d/serviceoptd.conf /etc/tmpfiles.d/serviceoptd.conf
	if [ "$$(readlink "$(BINDIR)/serviceoptctl")" = "$(PREFIX)/bin/serviceoptctl" ]; then rm "$(BINDIR)/serviceoptctl"; fi
	rm -rf "$(PREFIX)"
	if [ "$(PURGE)" = yes ]; then \
	  rm -rf /var/lib/serviceoptd /var/cache/serviceoptd /etc/serviceoptd /etc/systemd/system/serviceoptd.service.d; fi
	systemctl daemon-reload
	@[ "$(PURGE)" = yes ] || echo "Kept: /var/lib/serviceoptd (journal), /var/cache/serviceoptd, /etc/serviceoptd, drop-ins, user serviceopt."
