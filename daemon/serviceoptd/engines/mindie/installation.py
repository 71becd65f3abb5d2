"""Where MindIE's program and configuration are. Reads, never writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serviceopt_journal import foreign_files
from serviceopt_journal.errors import EnvironmentLacks
from serviceopt_journal.foreign_files import LARGEST_CONFIGURATION, MIB, UnfitFile
from serviceoptd.engines.mindie.configuration import JsonText
from serviceoptd.engines.mindie.section import MindieSection
from serviceoptd.toolkit import provenance
from serviceoptd.toolkit.find_program import find_program
from serviceoptd.toolkit.interface import Workplace
from serviceoptd.toolkit.program import is_path, located

USUAL_ROOT = "/usr/local/Ascend/mindie/latest/mindie-service"
DAEMON, SERVER = "mindieservice_daemon", "mindie_llm_server"
PATH_VARIABLE = "MIES_CONFIG_JSON_PATH"


@dataclass(frozen=True)
class Installation:
    """MindIE as a child process with this environment finds it."""

    program: str
    root: Path
    configuration: Path
    environment: Mapping[str, str]  # what the child needs beyond its own, so that it reads that configuration

    @classmethod
    def of(cls, options: MindieSection, workplace: Workplace, own: Mapping[str, str]) -> Installation:
        """`own`: the variables of the section, which win over the submitter's."""
        environment = {**workplace.environment, **own}
        root = Path(environment.get("MIES_INSTALL_PATH") or USUAL_ROOT)
        program = options.program or _usual_program(root, workplace)
        if Path(program).name == SERVER and (home := environment.get("MINDIE_LLM_HOME_PATH")):
            root = Path(home)
        usual = Path(environment.get(PATH_VARIABLE) or root / "conf" / "config.json")
        added = {} if "MIES_INSTALL_PATH" in environment or program == SERVER else {"MIES_INSTALL_PATH": str(root)}
        configuration = usual
        if options.config_path:
            given = options.config_path
            configuration = Path(located(given if is_path(given) else f"./{given}", workplace))
            if configuration != usual:
                added[PATH_VARIABLE] = str(configuration)  # else the server would read another file
        return cls(program, root, configuration, added)

    def text(self, workplace: Workplace) -> JsonText:
        """The text of config.json as its user left it, also while a launch of ours has it edited.

        Raises:
            EnvironmentLacks: it cannot be read.
            InvalidConfiguration: it is not JSON.
        """
        content = workplace.originals.get(self.configuration.resolve())
        if content is None:
            try:
                content = foreign_files.content(self.configuration, LARGEST_CONFIGURATION, through_links=True)
            except OSError as error:
                raise EnvironmentLacks(
                    f"MindIE's configuration {self.configuration} cannot be read: {(error.strerror or '').lower()}",
                    hint="set [mindie] config_path, or MIES_INSTALL_PATH (source MindIE's set_env.sh) before submitting",
                ) from error
        return JsonText.of(content, str(self.configuration))

    def version(self, workplace: Workplace) -> str:
        """What `version.info` of the installation says; else of the Python packages, else a hash of the program."""
        for place in (self.root, self.root.parent):
            try:
                said = foreign_files.content(place / "version.info", MIB, through_links=True)
            except (OSError, UnfitFile):
                continue
            return " ".join(said.decode(errors="replace").split())
        return provenance.program_version(self.program, workplace, ("mindie", "mindie_llm"))


def _usual_program(root: Path, workplace: Workplace) -> str:
    """The daemon of the installation; where there is none, the server that a wheel puts on PATH, if it is there."""
    usual = root / "bin" / DAEMON
    if not usual.is_file():
        try:
            find_program(SERVER, workplace.environment, workplace.working_directory)
        except EnvironmentLacks:
            return str(usual)
        return SERVER
    return str(usual)
