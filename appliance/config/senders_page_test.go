package config_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/appliance/config/sendertest"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature"
)

const (
	sendersPage   = "../../docs/senders.md"
	presetsBegin  = "<!-- written from appliance/config/presets.toml by: go test ./appliance/config -run TestSendersPage -args -update -->\n"
	presetsEnd    = "<!-- end of the presets -->\n"
	exampleHeader = "## A sender that has none"
)

var update = flag.Bool("update", false, "write what the page on senders says of the presets")

// TestSendersPage keeps what docs/senders.md says of the presets the same as what
// they say themselves.
func TestSendersPage(t *testing.T) {
	raw, err := os.ReadFile(sendersPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), presetsBegin)
	is, after, ended := strings.Cut(rest, presetsEnd)
	if !ok || !ended {
		t.Fatalf("%s lacks the lines\n%s%s", sendersPage, presetsBegin, presetsEnd)
	}
	want := presetsAsText(t)
	if *update {
		if err := os.WriteFile(sendersPage, []byte(before+presetsBegin+want+presetsEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if is != want {
		t.Errorf("%s says of the presets\n%s\ninstead of (-args -update writes it)\n%s", sendersPage, is, want)
	}
}

// presetsAsText returns a table of all presets and a section on each.
func presetsAsText(t *testing.T) string {
	var table, sections strings.Builder
	table.WriteString("\n| preset | sender | scheme | covers | verified |\n|---|---|---|---|---|\n")
	presets := sendertest.Presets(t)
	for _, name := range slices.Sorted(maps.Keys(presets)) {
		p := presets[name]
		scheme, _ := sendertest.Compile(t, &p.Courier, 0)
		verified := "yes"
		if p.Unverified {
			verified = "**no**"
		}
		fmt.Fprintf(&table, "| [`%s`](#%s) | %s | `%s` | %s | %s |\n", name, name, p.About, p.Courier.Scheme, scheme.Binding(), verified)
		presetSection(&sections, name, &p, scheme)
	}
	return table.String() + sections.String() + "\n"
}

func presetSection(w *strings.Builder, name string, p *sendertest.Preset, s *signature.Scheme) {
	courier := name
	if p.CourierName != "" {
		courier = p.CourierName
	}
	fmt.Fprintf(w, "\n### %s\n\n%s. [Source](%s)", name, p.About, p.Docs)
	if p.Unverified {
		w.WriteString("; **unverified**")
	}
	fmt.Fprintf(w, "\n\n```toml\n[couriers.%s]\npreset = %q\n", courier, name)
	if p.Secret != "" {
		variable := strings.ToUpper(strings.ReplaceAll(courier, "-", "_")) + "_SECRET"
		fmt.Fprintf(w, "secrets = [\"env:%s\"] # %s\n", variable, p.Secret)
	}
	if p.Unverified {
		w.WriteString("mode = \"observe\" # until its requests are seen to pass\n")
	}
	fmt.Fprintf(w, "```\n\n- Set up: %s\n- Covers: %s (`%s`)\n- Expects: %s\n", p.Setup, s.Binding(), p.Courier.Scheme, p.Expects)
	fmt.Fprintf(w, "- Signature, compared with: %s\n- States, compared with: %s\n", p.Verified.Signature, p.Verified.States)
	if len(p.Addresses) > 0 {
		fmt.Fprintf(w, "- Sends from: %s\n", strings.Join(p.Addresses, ", "))
	}
}

// TestSendersPageExamples reads every configuration on the page, and lets the one
// that is worked out there read the body beside it.
func TestSendersPageExamples(t *testing.T) {
	raw, err := os.ReadFile(sendersPage)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range blocks(string(raw), "toml") {
		pageCouriers(t, block)
	}
	_, example, ok := strings.Cut(string(raw), exampleHeader)
	if !ok {
		t.Fatalf("%s has no %q", sendersPage, exampleHeader)
	}
	configuration, bodies := blocks(example, "toml"), blocks(example, "json")
	if len(configuration) == 0 || len(bodies) != 2 {
		t.Fatalf("the example has %d configurations and %d bodies", len(configuration), len(bodies))
	}
	c := pageCouriers(t, configuration[0])["northwind"]
	scheme, decoder := sendertest.Compile(t, &c, 0)
	fixture := sendertest.CaseOf([]byte(bodies[0]))
	sendertest.DecodeStrictly(t, []byte(bodies[1]), &fixture.Want)
	r := fixture.Signed(t, "northwind", scheme, sendertest.SignedAt)
	if _, err := scheme.Verify(r, sendertest.SignedAt); err != nil {
		t.Error(err)
	}
	var e event.Event
	if faults := decoder.Decode(payload.Input{Body: r.RawBody, Headers: r, Received: sendertest.SignedAt}, &e, nil); len(faults) > 0 {
		t.Fatal(faults)
	}
	sendertest.CheckEvent(t, e, r.RawBody, sendertest.SignedAt, fixture.Want)
}

// pageCouriers reads a configuration that has no faults, secrets apart.
func pageCouriers(t *testing.T, document string) map[string]config.Courier {
	l := sendertest.Load(t, document)
	for _, fault := range l.Invalid() {
		if fault.Path != "ingest.default_courier" {
			t.Errorf("%s\n%s: %s", document, fault.Path, fault.Message)
		}
	}
	return l.Couriers
}

// blocks returns the code blocks of a language.
func blocks(page, language string) (out []string) {
	fence := regexp.MustCompile("(?ms)^```" + language + "\n(.*?)^```$")
	for _, match := range fence.FindAllStringSubmatch(page, -1) {
		out = append(out, match[1])
	}
	return out
}
