package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestQuickstart runs docs/quickstart.md line by line, as a reader who follows it in a clone
// does, and compares what each command prints with what the page says it prints. In the end
// git has nothing to say about the clone.
func TestQuickstart(t *testing.T) {
	page, err := os.ReadFile("../docs/quickstart.md")
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t)
	commands := 0
	for _, block := range codeBlocks(string(page)) {
		switch block.info {
		case "sh":
			if out, err := r.command(block.text).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%s\n%v: %s", block.text, err, out)
			}
		case "console":
			for _, step := range steps(block.text) {
				commands++
				r.run(step)
			}
		default:
			t.Errorf("a block of %q, which the test can't execute", block.info)
		}
	}
	if commands < 15 {
		t.Errorf("the page has %d commands; is it read at all?", commands)
	}
	r.stop()
	if out := r.output("git status --porcelain"); out != "" {
		t.Errorf("git status says\n%s", out)
	}
}

// reader follows the page in a directory of its own.
type reader struct {
	t       *testing.T
	dir     string
	env     []string
	served  *exec.Cmd
	printed []string // the lines that serve has printed
}

// newReader has `appliance`, and `go run ./appliance`, run the test binary as the appliance.
func newReader(t *testing.T) *reader {
	t.Helper()
	bin, dir := t.TempDir(), t.TempDir()
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "appliance")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, curl)); err != nil {
		t.Fatal(err)
	}
	goTool := fmt.Sprintf("#!/bin/sh\ncase $1 in\nrun) shift 2; exec %s/appliance \"$@\" ;;\nenv) echo %s ;;\nesac\n", bin, bin)
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(goTool), 0o755); err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, dir: dir}
	clone := exec.Command("sh", "-ec", `cp ../appliance.toml ../.gitignore "$0"; cd "$0"; git init -q; git add .; git -c user.name=a -c user.email=a commit -qm clone`, dir)
	if out, err := clone.CombinedOutput(); err != nil {
		t.Fatalf("make a clone: %v: %s", err, out)
	}
	r.env = append(os.Environ(), asAppliance+"=1", "PATH="+bin+":"+os.Getenv("PATH"),
		"APPLIANCE_INGEST__LISTEN="+freeAddress(t), "APPLIANCE_ADMIN__LISTEN="+freeAddress(t),
		"APPLIANCE_JETSTREAM__DISK_RESERVE_BYTES=0")
	return r
}

// freeAddress returns an address of this machine on which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// step is a command of the page and what it prints.
type step struct{ command, output string }

// run runs a command. One that only reads is repeated until it prints what it should, as
// a person would: what was accepted is processed in the background.
func (r *reader) run(s step) {
	r.t.Helper()
	switch name, value, isExport := strings.Cut(strings.TrimPrefix(s.command, "export "), "="); {
	case isExport && strings.HasPrefix(s.command, "export "):
		r.env = append(r.env, name+"="+r.output("printf %s "+value))
	case strings.HasSuffix(s.command, " serve"):
		r.serve(s)
	default:
		command := r.complete(s.command)
		reads := strings.Contains(command, " show ") || strings.Contains(command, " list") || strings.HasSuffix(command, " status")
		got := r.output(command)
		for deadline := time.Now().Add(20 * time.Second); reads && !prints(s.output).MatchString(got) && time.Now().Before(deadline); {
			last(r.t, 50*time.Millisecond)
			got = r.output(command)
		}
		if !prints(s.output).MatchString(got) {
			r.t.Errorf("$ %s\nprints\n%s\nand the page says\n%s", command, got, s.output)
		}
	}
}

func (r *reader) command(command string) *exec.Cmd {
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir, cmd.Env = r.dir, r.env
	return cmd
}

// output returns what a command prints, errors among it, and does not care how it ends:
// the page shows that.
func (r *reader) output(command string) string {
	out, _ := r.command(command).CombinedOutput()
	return string(out)
}

// complete puts what serve has printed in the place of a command of which the page shows
// a part.
func (r *reader) complete(command string) string {
	r.t.Helper()
	if !strings.Contains(command, "…") {
		return command
	}
	shown := prints(command + "\n")
	for _, line := range r.printed {
		if line = strings.TrimSpace(line); shown.MatchString(line + "\n") {
			return line
		}
	}
	r.t.Fatalf("serve printed no line like %s:\n%s", command, strings.Join(r.printed, "\n"))
	return ""
}

// serve stops what runs and starts the appliance in the background.
func (r *reader) serve(s step) {
	r.t.Helper()
	r.stop()
	r.served = r.command("exec " + s.command)
	errs := &syncBuffer{}
	r.served.Stderr = errs
	out, err := r.served.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.served.Start(); err != nil {
		r.t.Fatal(err)
	}
	process := r.served.Process
	r.t.Cleanup(func() { _ = process.Kill() })
	shown := make(chan string)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			shown <- lines.Text()
		}
		close(shown)
	}()
	r.printed = nil
	for !prints(s.output).MatchString(strings.Join(r.printed, "\n") + "\n") {
		select {
		case line, open := <-shown:
			if !open {
				r.t.Fatalf("serve ended:\n%s", errs)
			}
			r.printed = append(r.printed, line)
		case <-time.After(30 * time.Second):
			r.t.Fatalf("serve printed\n%s\nand the page says\n%s\nits log:\n%s", strings.Join(r.printed, "\n"), s.output, errs)
		}
	}
	go func() {
		for range shown { // until it ends
		}
	}()
}

// stop ends what serve started, as Ctrl-C does.
func (r *reader) stop() {
	r.t.Helper()
	if r.served == nil {
		return
	}
	if err := r.served.Process.Signal(syscall.SIGINT); err != nil {
		r.t.Fatal(err)
	}
	if err := r.served.Wait(); err != nil {
		r.t.Errorf("serve ended with %v", err)
	}
	r.served = nil
}

// block is fenced text of a page, with what its fence says of it.
type block struct{ info, text string }

func codeBlocks(page string) (blocks []block) {
	var open *block
	for line := range strings.Lines(page) {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			open = &block{info: strings.TrimSpace(fence)}
		case isFence:
			blocks, open = append(blocks, *open), nil
		case open != nil:
			open.text += line
		}
	}
	return blocks
}

// steps divides a console's text into the commands, after a dollar sign, and what each prints.
func steps(text string) (all []step) {
	for line := range strings.Lines(text) {
		if command, isCommand := strings.CutPrefix(line, "$ "); isCommand {
			all = append(all, step{command: strings.TrimSpace(command)})
		} else {
			all[len(all)-1].output += line
		}
	}
	return all
}

// prints matches a text with the page's: an ellipsis is anything in a line, one on a line of
// its own any number of lines, and the width of columns does not matter.
func prints(shown string) *regexp.Regexp {
	var pattern strings.Builder
	pattern.WriteString(`^`)
	for line := range strings.Lines(shown) {
		if line == "…\n" {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		words := strings.Fields(line)
		for i, word := range words {
			words[i] = strings.ReplaceAll(regexp.QuoteMeta(word), "…", ".*")
		}
		pattern.WriteString(` *` + strings.Join(words, ` +`) + ` *\n`)
	}
	pattern.WriteString(`$`)
	return regexp.MustCompile(strings.ReplaceAll(pattern.String(), ` *\n$`, ` *\n?$`))
}
