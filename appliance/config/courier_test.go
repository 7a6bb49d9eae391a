package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPresetIsOverriddenKeyByKey(t *testing.T) {
	t.Setenv("PARCELS", "secret")
	l := loaded(t, `
		[couriers.parcels]
		preset = "easypost"
		secrets = ["env:PARCELS"]
		success_status = 204
		signature.prefix = "sha256="
		event.order_id = ["{result.reference}"]
		event.states.delivered = ["DLV"]
	`)
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
	c := l.Couriers["parcels"]
	if c.Scheme != "hmac" || c.Normalize != "nfkd" || c.Signature.Names[0] != "X-Hmac-Signature" || c.Event.EventID[0] != "{id}" {
		t.Errorf("the preset is not there: %+v", c)
	}
	if c.SuccessStatus != 204 || c.Signature.Prefix != "sha256=" || c.Event.OrderID[0] != "{result.reference}" {
		t.Errorf("what was set is not there: %+v", c)
	}
	settings, err := l.Settings()
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]Setting{
		"states.delivered": {Value: []string{"DLV"}, Origin: "file " + l.File}, "states.returned": {Value: []string{"return_to_sender"}, Origin: "preset easypost"},
	} {
		want.Key = "couriers.parcels.event." + key
		if !slices.ContainsFunc(settings, func(s Setting) bool { return reflect.DeepEqual(s, want) }) {
			t.Errorf("config show lacks %v", want)
		}
	}
	for key, origin := range map[string]string{
		"couriers.parcels.normalize": "preset easypost", "couriers.parcels.signature.names": "preset easypost",
		"couriers.parcels.signature.prefix": "file " + l.File, "couriers.parcels.success_status": "file " + l.File,
	} {
		if got := l.Origin(key); got != origin {
			t.Errorf("%s comes from %q, want %q", key, got, origin)
		}
	}
	if again := loaded(t, "[couriers.other]\npreset = \"easypost\"\nsecrets = [\"env:PARCELS\"]\n"); again.Couriers["other"].Signature.Prefix != "hmac-sha256-hex=" {
		t.Errorf("one courier's settings have changed the preset: %+v", again.Couriers["other"])
	}
}

// TestTolerancesHaveDefaults: clocks differ, so that a time is never compared to the second
// unless the settings say so.
func TestTolerancesHaveDefaults(t *testing.T) {
	t.Parallel()
	const tokens, minute = "scheme = \"jwt\"\nsignature.names = [\"x-token\"]\n", time.Minute
	for settings, want := range map[string][2]time.Duration{
		"scheme = \"gateway\"":                       {5 * minute, 5 * minute},
		"scheme = \"svix\"":                          {5 * minute, 5 * minute},
		"scheme = \"svix\"\ntolerance_past = \"1h\"": {60 * minute, 5 * minute},
		"scheme = \"bearer\"":                        {},
		tokens:                                       {minute, minute},
		tokens + "tolerance = \"2s\"":                {2 * time.Second, 2 * time.Second},
		tokens + "tolerance_past = \"10m\"":          {10 * minute, minute},
		tokens + "tolerance_future = \"1ns\"":        {minute, 1},
	} {
		l := loaded(t, "[couriers.acme]\nsecrets = [\"file:x\"]\n"+settings)
		s := l.Couriers["acme"].SignatureSettings()
		if got := [2]time.Duration{s.TolerancePast, s.ToleranceFuture}; got != want {
			t.Errorf("%s: tolerances are %v, want %v", settings, got, want)
		}
	}
}

func TestCourierFaultsNameTheirKeys(t *testing.T) {
	t.Setenv("SECRET", "0123456789abcdef")
	for settings, key := range map[string]string{
		`preset = "pigeon"`:                        "preset",
		`mode = "maybe"`:                           "mode",
		`scheme = "hmac"`:                          "signature.names",
		`scheme = "rot13"`:                         "scheme",
		`jwks = "file:keys.json"`:                  "jwks",
		`tolerance = "-1s"`:                        "tolerance",
		`algorithms = ["md5"]`:                     "algorithms[0]",
		`colour = "red"`:                           "colour",
		`signature.colour = "red"`:                 "signature.colour",
		`networks = ["here"]`:                      "networks[0]",
		`max_body_bytes = -1`:                      "max_body_bytes",
		`max_ahead = "-1h"`:                        "max_ahead",
		`content_types = ["json"]`:                 "content_types[0]",
		`content_encodings = ["identity", "br"]`:   "content_encodings[1]",
		`handshake.echo_header = "content-length"`: "handshake.echo_header",
		`handshake.challenge_answer = "json"`:      "handshake.challenge_answer",
		"handshake.challenge = \"c\"\nhandshake.challenge_answer = \"xml\"":     "handshake.challenge_answer",
		`success_headers = { Date = "now" }`:                                    "success_headers.Date",
		"success_headers = { x-a = \"a\\nb\" }":                                 "success_headers.x-a",
		`success_headers = { x-a = "env:NO_SUCH_VARIABLE_IN_THE_ENVIRONMENT" }`: "success_headers.x-a",
		`rate_burst = 5`:         "rate_burst",
		`rate_per_second = inf`:  "rate_per_second",
		`rate_per_second = nan`:  "rate_per_second",
		`rate_per_second = -1.0`: "rate_per_second",
		"success_body = \"x\"\nsuccess_content_type = \"a\\nb\"": "success_content_type",
		`success_body = "x"` + "\nsuccess_status = 204":          "success_body",
		`event.event_id = ["{id"]`:                               "event.event_id",
		`event.status = ["{status}"]`:                            "event.shipment_id",
		`event.time.zone = "Mars"`:                               "event.time.zone",
		`event.states = { gone = ["x"] }`:                        "event.states.gone",
		`private_key = "file:/no/such/key"`:                      "private_key",
		"scheme = \"jwt\"\nsignature.names = [\"x\"]\njwks = \"http://far.example/keys\"\nalgorithms = [\"RS256\"]": "jwks",
	} {
		err := loaded(t, "[couriers.acme]\nsecrets = [\"env:SECRET\"]\n"+settings).Check()
		if err == nil || !strings.Contains(err.Error(), "\n  couriers.acme."+key+": ") {
			t.Errorf("%s: want a fault of %s, got %v", settings, key, err)
		}
	}
}

// TestClaimsMayHaveDots: the private claims of a token are named by addresses.
func TestClaimsMayHaveDots(t *testing.T) {
	t.Setenv("SECRET", "0123456789abcdef")
	l := loaded(t, "[couriers.acme]\nscheme = \"jwt\"\nsecrets = [\"env:SECRET\"]\nsignature.names = [\"x-jwt\"]\nclaims = { \"https://example.com/shop\" = \"7\" }\n")
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
	if got := l.Couriers["acme"].Claims; len(got) != 1 || got["https://example.com/shop"] != "7" {
		t.Errorf("the claims are %v", got)
	}
}

func TestSecretFaultsNameTheirKeys(t *testing.T) {
	t.Setenv("SECRET", "0123456789abcdef")
	t.Setenv("SAME", "0123456789abcdef")
	for _, tt := range []struct{ secrets, fault string }{
		{`[]`, "couriers.acme.secrets: "},
		{`["env:NO_SUCH_VARIABLE"]`, "couriers.acme.secrets[0]: "},
		{`[{ secret = "env:SECRET", until = 2027-01-01 }]`, "couriers.acme.secrets"},
		{`[{ secret = "env:SECRET", not_after = "soon" }]`, "couriers.acme.secrets"},
		{`[{ not_after = 2027-01-01 }]`, "couriers.acme.secrets"},
		{`[7]`, "couriers.acme.secrets"},
		{`["env:SECRET", "env:SAME"]`, "couriers.acme.secrets[1]: is the same secret as secrets[0]"},
		{`[{ secret = "env:SECRET", not_before = 2027-01-02, not_after = 2027-01-01 }]`, "couriers.acme.secrets[0].not_after: "},
	} {
		err := loaded(t, "[couriers.acme]\nsecrets = "+tt.secrets+"\n").Check()
		if err == nil || !strings.Contains(err.Error(), "\n  "+tt.fault) {
			t.Errorf("%s: want a fault of %s, got %v", tt.secrets, tt.fault, err)
		}
	}
}

// TestSecretsThatCannotBeUsed: what is wrong inside a secret is reported with its
// reference, which is all that the configuration has.
func TestSecretsThatCannotBeUsed(t *testing.T) {
	t.Setenv("SECRET", "no hex")
	err := loaded(t, "[couriers.acme]\npreset = \"onfleet\"\nsecrets = [\"env:SECRET\"]\n").Check()
	if err == nil || !strings.Contains(err.Error(), "\n  couriers.acme.secrets[0]: is not hex") || strings.Contains(err.Error(), "no hex") {
		t.Errorf("got %v", err)
	}
}

func TestSecretsHavePeriods(t *testing.T) {
	t.Setenv("OLD", "old secret")
	t.Setenv("NEW", "new secret")
	path := configFile(t, `
		[couriers.acme]
		secrets = ["env:NEW", { secret = "env:OLD", not_before = "2026-01-01", not_after = 2027-01-01T00:00:00+01:00 }]
	`)
	l, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
	old := l.Couriers["acme"].Secrets[1]
	if !old.NotBefore.Equal(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) || !old.NotAfter.Equal(time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC)) {
		t.Errorf("the old secret is %v", old)
	}
	settings, err := l.Settings()
	if err != nil {
		t.Fatal(err)
	}
	if want := "env:OLD from 2026-01-01T00:00:00Z until 2027-01-01T00:00:00+01:00"; !strings.Contains(fmt.Sprint(settings), want) {
		t.Errorf("the settings do not say %q:\n%v", want, settings)
	}
}

func TestCouriersFromTheEnvironment(t *testing.T) {
	t.Setenv("A_SECRET", "a secret")
	t.Setenv("APPLIANCE_COURIERS__ACME__SECRETS", "env:A_SECRET")
	t.Setenv("APPLIANCE_COURIERS__ACME__PRESET", "easypost")
	t.Setenv("APPLIANCE_COURIERS__ACME__EVENT__STATUS", "{result.status},{status}")
	l := loaded(t, "")
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
	if c := l.Couriers["acme"]; len(c.Event.Status) != 1 || c.Event.Status[0] != "{result.status},{status}" || c.Scheme != "hmac" {
		t.Errorf("the courier is %+v", c)
	}
}

// TestProcessNeedsNoSecrets: a process that only processes reads payloads and
// verifies nothing, so it can do without the couriers' secrets.
func TestProcessNeedsNoSecrets(t *testing.T) {
	l := loaded(t, `
		role = "process"
		jetstream = { mode = "external", urls = ["nats://127.0.0.1:4222"], stamp_keys = ["env:STAMP"] }
		[couriers.parcels]
		preset = "easypost"
	`)
	t.Setenv("STAMP", "sixteen bytes or more")
	if err := l.Check(); err != nil {
		t.Error(err)
	}
}
