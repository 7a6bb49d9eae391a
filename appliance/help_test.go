package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ops/terminal"
)

// commandTree returns the root command, with nothing to read and nowhere to print.
func commandTree() *cobra.Command {
	var out bytes.Buffer
	c := &cli{in: &out, out: &out, err: &out, screen: terminal.NewScreen(&out)}
	return c.root()
}

// everyCommand calls visit for every command that does something.
func everyCommand(cmd *cobra.Command, visit func(*cobra.Command)) {
	for _, sub := range cmd.Commands() {
		everyCommand(sub, visit)
	}
	if !cmd.HasSubCommands() || cmd.Name() == "bench" {
		visit(cmd)
	}
}

// TestEveryCommandHasExamplesThatParse takes each example through everything but the
// command itself: flags, arguments, and what is checked before it runs.
func TestEveryCommandHasExamplesThatParse(t *testing.T) {
	root := commandTree()
	seen := 0
	everyCommand(root, func(cmd *cobra.Command) {
		seen++
		if !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s has no example of itself: %q", cmd.CommandPath(), cmd.Example)
		}
		for line := range strings.Lines(cmd.Example) {
			for part := range strings.SplitSeq(line, "|") {
				if words := shellWords(part); len(words) > 0 && words[0] == "appliance" {
					parses(t, words[1:])
				}
			}
		}
	})
	if seen < 25 {
		t.Errorf("only %d commands were seen", seen)
	}
}

// parses fails the test unless a command line is one that a command takes.
func parses(t *testing.T, words []string) {
	t.Helper()
	if i := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, ">") }); i >= 0 {
		words = words[:i]
	}
	cmd, args, err := commandTree().Find(words)
	if err == nil {
		err = cmd.ParseFlags(args)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err == nil && cmd.PreRunE != nil {
		err = cmd.PreRunE(cmd, cmd.Flags().Args())
	}
	if err != nil {
		t.Errorf("%q: %v", words, err)
	}
}

// shellWords splits a command line without escapes.
func shellWords(line string) (words []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(strings.TrimSuffix(part, "\\"))...)
		}
	}
	return words
}

func TestCompletion(t *testing.T) {
	path := configFile(t, "[couriers.acme]\nsecrets = [\"env:S\"]\n[couriers.parcels]\npreset = \"easypost\"\nsecrets = [\"env:S\"]\n")
	for line, want := range map[string][]string{
		"dlq list --courier ":             {"acme", "parcels"},
		"events show --courier ":          {"acme", "parcels"},
		"send --courier ":                 {"acme", "parcels"},
		"sign --courier p":                {"parcels"},
		"couriers test ":                  {"acme", "parcels"},
		"rejections list --code INVALID_": {"INVALID_PAYLOAD", "INVALID_SIGNATURE"},
		"dlq list --code DOMAIN":          {"DOMAIN_INVALID"},
		"dlq list --status ":              {"closed", "pending", "replayed", "reviewed"},
		"couriers presets easyp":          {"easypost", "easypost-v2"},
		"serve --role ":                   {"all", "ingest", "process"},
	} {
		args := strings.Split(line, " ")
		args = append([]string{"__complete"}, append(args[:len(args)-1], "--config", path, args[len(args)-1])...)
		if flag := args[len(args)-4]; strings.HasPrefix(flag, "--") { // its value comes last
			args = append(args[:len(args)-4], "--config", path, flag, args[len(args)-1])
		}
		var out, errOut bytes.Buffer
		run(t.Context(), args, nil, &out, &errOut)
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		got := lines[:len(lines)-1] // the last one is for the shell
		if line[len(line)-1] != ' ' {
			typed := line[strings.LastIndex(line, " ")+1:]
			got = slices.DeleteFunc(got, func(word string) bool { return !strings.HasPrefix(word, typed) }) // as the shell does
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%q completes to %q, want %q\n%s", line, got, want, errOut.String())
		}
	}
}

func TestFailuresAsJSON(t *testing.T) {
	for args, want := range map[string]failure{
		"status --json --admin-listen 127.0.0.1:1":      {Code: "UNREACHABLE", Exit: 5},
		"couriers presets nosuch --json":                {Code: "NOT_FOUND", Exit: 4},
		"dlq list --json --status odd":                  {Code: "USAGE", Exit: 2},
		"config check --json --config /no/such/file":    {Code: "FAILED", Exit: 1},
		"health --json --admin-listen 127.0.0.1:1":      {Code: "FAILED", Exit: 1},
		"dlq replay 1 --json --yes --admin-listen [::1": {Code: "FAILED", Exit: 1},
		"dlq list --limit x --json":                     {Code: "USAGE", Exit: 2},
		"stauts --json":                                 {Code: "USAGE", Exit: 2},

		"dlq replay 1 2 --yes --json --admin-listen 127.0.0.1:1": {Code: "UNREACHABLE", Exit: 5},
	} {
		var out, errOut bytes.Buffer
		code := run(t.Context(), strings.Fields(args), nil, &out, &errOut)
		var got failure
		if err := json.Unmarshal(errOut.Bytes(), &got); err != nil {
			t.Errorf("%s: %v: %s", args, err, errOut.String())
			continue
		}
		if got.Message == "" || got.Code != want.Code || got.Exit != want.Exit || code != want.Exit {
			t.Errorf("%s: exit %d, %+v, want %+v", args, code, got, want)
		}
	}
}

func TestCommandsAndFlagsSuggestOthers(t *testing.T) {
	for args, want := range map[string]string{
		"stauts": `there is no command "stauts"; did you mean "status"?`, "dlq lst": `did you mean "list"?`, "version --jsn": `unknown flag: --jsn; did you mean "json"?`,
	} {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), nil, &out, &errOut); code != exitUsage || !strings.Contains(errOut.String(), want) {
			t.Errorf("%s: exit %d: %s", args, code, errOut.String())
		}
	}
}

// TestUsageFaultsAreInWords has flags and arguments that their parsers refuse.
func TestUsageFaultsAreInWords(t *testing.T) {
	for args, want := range map[string]string{
		"dlq list --limit x":    `--limit "x" is not a whole number`,
		"dlq list --limit":      "flag needs an argument: --limit\n",
		"health --timeout soon": `--timeout "soon" is not a duration such as 1m30s`,
		"events show":           "usage is `appliance events show KEY`; 0 arguments were given",
		"couriers test acme":    "usage is `appliance couriers test COURIER FILE|-`; 1 argument was given",
		"status now":            "usage is `appliance status`; 1 argument was given",
	} {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), nil, &out, &errOut); code != exitUsage || !strings.Contains(errOut.String(), want) {
			t.Errorf("%s: exit %d: %s", args, code, errOut.String())
		}
	}
}

// TestExitCodesOfNames has names that nothing has, and an address where nothing answers.
func TestExitCodesOfNames(t *testing.T) {
	t.Setenv("S", "sixteen bytes or more of a secret")
	path := configFile(t, "[couriers.acme]\nsecrets = [\"env:S\"]\n")
	for args, want := range map[string]int{
		"couriers test nosuch -": exitNotFound, "sign --courier nosuch": exitNotFound, "send --courier nosuch": exitNotFound,
		"config nosuch": exitUsage, "config": exitUsage, "completion nosuch": exitUsage, "completion bash": 0,
		"bench --target http://127.0.0.1:1 --courier acme --events 1 --admin 127.0.0.1:1":              exitUnreachable,
		"bench --target http://127.0.0.1:1 --courier acme --events 1 --admin 127.0.0.1:1 --check none": exitUnreachable,
	} {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), append(strings.Fields(args), "--config", path), strings.NewReader("{}"), &out, &errOut); code != want {
			t.Errorf("%s: exit %d, want %d: %s", args, code, want, errOut.String())
		}
	}
}

func TestColourIsForTerminals(t *testing.T) {
	t.Setenv("TERM", "xterm")
	for args, colour := range map[string]bool{"config show": false, "config show --color always": true, "config show --color=always --no-color": false, "config show --color never": false} {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), append(strings.Fields(args), "--config", os.DevNull), nil, &out, &errOut); code != 0 {
			t.Fatalf("%s: exit %d: %s", args, code, errOut.String())
		}
		if got := strings.Contains(out.String(), "\x1b["); got != colour {
			t.Errorf("%s: in colour is %v", args, got)
		}
	}
}

// TestExitCodeOfSendWithoutListener sends where nothing listens.
func TestExitCodeOfSendWithoutListener(t *testing.T) {
	t.Setenv("S", "sixteen bytes or more of a secret")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	path := configFile(t, "[ingest]\nlisten = \""+address+"\"\n[couriers.acme]\nsecrets = [\"env:S\"]\n")
	var out, errOut bytes.Buffer
	if code := run(t.Context(), []string{"send", "--config", path}, nil, &out, &errOut); code != exitUnreachable {
		t.Errorf("exit %d: %s", code, errOut.String())
	}
}
