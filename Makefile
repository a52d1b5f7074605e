# Every word here works from a bare checkout: it needs Python 3.11 or newer with venv, and makes everything else itself.
# ARGS goes to the program behind the word: make demo ARGS=--once, make test ARGS='-k chat'.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench dev

demo: $(VENV)/installed-demo
	@$(BIN)/qwil demo $(ARGS)

test: $(VENV)/installed-dev $(VENV)/browser
	@$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

check: $(VENV)/installed-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench: $(VENV)/installed-dev
	@$(BIN)/qwil bench $(ARGS)

dev: $(VENV)/installed-dev

# Stamps say what was finished: an interrupted set-up leaves none and is done again, a changed pyproject.toml installs again.
define install
@echo "Installing the packages for $(1) into $(VENV); the first time takes a minute or two ..."
@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[$(1)]'
endef

$(VENV)/installed-demo: pyproject.toml $(VENV)/made
	$(call install,demo)
	@touch $@

# What development needs contains what the demo needs.
$(VENV)/installed-dev: pyproject.toml $(VENV)/made
	$(call install,dev)
	@touch $(VENV)/installed-demo $@

# Browser tests want Debian's Chromium: installed where we may (root, apt), elsewhere they are left out with a word.
$(VENV)/browser: | $(VENV)/made
	@if ! { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "Installing Chromium for the browser tests ..."; \
		(apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium) >$(VENV)/browser.log 2>&1 \
			|| echo "Chromium could not be installed, see $(VENV)/browser.log: the browser tests are left out."; \
	fi
	@touch $@

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("qwil needs Python 3.11 or newer and $(PYTHON) is %d.%d: name a newer one, as in make PYTHON=python3.12" % sys.version_info[:2])'
	@$(PYTHON) -m venv $(VENV)
	@touch $@
