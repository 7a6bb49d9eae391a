package config

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// checked returns what is wrong with a configuration, line by line, with $FILE for the
// file's name; "" when it is good.
func checked(t *testing.T, document string) string {
	t.Helper()
	path := configFile(t, document)
	l, err := Load(path, nil)
	if err == nil {
		err = l.Check()
	}
	if err == nil {
		return ""
	}
	if _, ok := errors.AsType[Faults](err); !ok {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	_, lines, _ := strings.Cut(err.Error(), "\n")
	return strings.ReplaceAll(lines, path, "$FILE")
}

// TestWhatIsNotSignedDecidesNothing: a program on the way has no event ignored, and is warned of
// where it can give one another name.
func TestWhatIsNotSignedDecidesNothing(t *testing.T) {
	t.Setenv("KEY", "a-secret-of-more-than-16-bytes")
	const hmac = "scheme = \"hmac\"\nalgorithms = [\"sha256\"]\nsignature = { names = [\"X-Sig\"] }\n"
	const mapped = "event_id = [\"{data.id}\"]\nshipment_id = [\"{data.parcel}\"]\ntime = { received = true }\nevent_type = [\"{type}\"]\n"
	for _, tc := range []struct{ name, courier, event, fault, warning string }{
		{"a header", `scheme = "gateway-body"`, `ignore = [{ is = ["x"] }, { at = "{header:x-topic}", is_not = ["shipment"] }]`, "ignore[1]: looks at {header:x-topic}", ""},
		{"a header, with the usual scheme", "", `ignore = [{ at = "{header:x-topic}", is_not = ["shipment"] }]`, "ignore[0]: looks at {header:x-topic}", ""},
		{"a header, unless a member is there", `scheme = "gateway-body"`, `ignore = [{ at = "{header:x-topic}", is_not = ["shipment"], without = "{payload}" }]`, "", ""},
		{"a header that is signed", hmac + `message = ["header:X-Topic", "body"]`, `ignore = [{ at = "{header:x-topic}", is = ["ping"] }]`, "", ""},
		{"an unsigned type", hmac + `message = ["json:data"]`, mapped + `ignore = [{ is_not = ["shipment"] }]`, "ignore[0]: looks at {type}", ""},
		{"an unsigned type, unless another unsigned member is there", hmac + `message = ["json:data"]`, mapped + `ignore = [{ is_not = ["shipment"], without = "{parcel}" }]`, "ignore[0]: looks at {type}", ""},
		{"an unsigned type, unless a signed member is there", hmac + `message = ["json:data"]`, mapped + `ignore = [{ is_not = ["shipment"], without = "{data.parcel}" }]`, "", ""},
		{"a member that begins like a signed one", hmac + `message = ["json:data"]`, mapped + `ignore = [{ at = "{data2.a}", is = ["x"] }]`, "ignore[0]: looks at {data2.a}", ""},
		{"the type of the canonical body", hmac + `message = ["json:payload", "json:idempotencyKey"]`, `ignore = [{ is = ["x"] }]`, "ignore[0]: looks at {eventType}", ""},
		{"nothing is signed", `scheme = "bearer"`, `ignore = [{ at = "{header:x-topic}", is = ["ping"] }]`, "", ""},
		{"an unsigned id", hmac + `message = ["body"]`, strings.Replace(mapped, "{data.id}", "{header:x-id}", 1), "", "event_id: looks at {header:x-id}"},
		{"an unsigned part of a key", hmac + `message = ["json:data"]`, mapped + `idempotency_key = ["{data.id}:{at}"]`, "", "idempotency_key: looks at {at}"},
		{"the hash of a body that is not signed", hmac + `message = ["json:data"]`, mapped + `idempotency_key = ["{data.id}", "{sha256:body}"]`, "", "idempotency_key: looks at {sha256:body}"},
		{"a signed id", hmac + `message = ["json:data"]`, mapped, "", ""},
		{"a time that is signed", hmac + "timestamp = { from = \"json\", names = [\"at\"] }\ntolerance = \"5m\"\n" + `message = ["timestamp", "json:data"]`, mapped + `idempotency_key = ["{data.id}:{at}"]`, "", ""},
	} {
		document := "data_dir = \"" + t.TempDir() + "\"\n[couriers.one]\nsecrets = [\"env:KEY\"]\n" + tc.courier + "\n[couriers.one.event]\n" + tc.event + "\n"
		l, err := Load(configFile(t, document), nil)
		if err == nil {
			err = l.Check()
		}
		if tc.fault == "" && err != nil || tc.fault != "" && (err == nil || !strings.Contains(err.Error(), "couriers.one.event."+tc.fault)) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.fault)
			continue
		}
		if err != nil {
			continue
		}
		text := ""
		if warnings := l.Warnings(); len(warnings) > 0 {
			text = warnings.Error()
		}
		if (tc.warning == "") != (text == "") || !strings.Contains(text, tc.warning) {
			t.Errorf("%s: warned %q, want %q", tc.name, text, tc.warning)
		}
	}
}

func TestFaultsSayWhereAndWhatIsMeant(t *testing.T) {
	t.Setenv("APPLIANCE_JETSTREAM__SINC", "group")
	t.Setenv("APPLIANCE_INGEST__MAX_CONNECTIONS", "many")
	got := checked(t, `data-dir = "x"
listen = ":9"
[ingset]
listen = ":9"
read_timeout = "1s"
[ingest]
  read_timeout = 5
default_courier = "acmee"
trusted_proxies = ["10.0.0.0/8",
  "10.0.0.0/99"]
[couriers.acme]
scheme = "hmca"
mode = "Observ"
secrets = [{secret = "env:HOME"}, {secrets = "env:USER"}]
[couriers.parcels]
preset = "easypst"
event = {shipment_ids = ["{id}"], ignore = [{is = ["ping"]}, {isnot = ["x"]}]}
`)
	for _, want := range []string{
		`data-dir: there is no such key; did you mean "data_dir"? ($FILE:1:1)`,
		`listen: there is no such key; did you mean ingest.listen or admin.listen? ($FILE:2:1)`,
		`ingset: there is no such key; did you mean "ingest"? ($FILE:3:2)`,
		`ingest.read_timeout: is the number 5, and must be a duration with its units, such as "90s" or "1h30m" ($FILE:7:3)`,
		`ingest.trusted_proxies[1]: "10.0.0.0/99" is neither an address nor a network such as 192.0.2.0/24 ($FILE:10:3)`,
		`couriers.acme.secrets[1]: there is no key "secrets" in a secret: secret, not_before and not_after are ($FILE:14:35)`,
		`couriers.parcels.preset: there is no preset "easypst"; did you mean "easypost"?`,
		`couriers.parcels.event.shipment_ids: there is no such key; did you mean "shipment_id"? ($FILE:17:10)`,
		`couriers.parcels.event.ignore[1].isnot: there is no such key; did you mean "is_not"?`,
		`jetstream.sinc: there is no such key; did you mean "sync"? (set by APPLIANCE_JETSTREAM__SINC)`,
		`ingest.max_connections: is the text "many", and must be a whole number (set by APPLIANCE_INGEST__MAX_CONNECTIONS)`,
	} {
		if !strings.Contains(got, "  "+want) {
			t.Errorf("there is no\n  %s\nin\n%s", want, got)
		}
	}
	if n := strings.Count(got, "ingset"); n != 1 || strings.Contains(got, "couriers.acme.secrets:") {
		t.Errorf("a table that does not exist is reported %d times, or what only follows from another fault:\n%s", n, got)
	}
}

func TestValuesSuggestOthers(t *testing.T) {
	for document, want := range map[string]string{
		"role = \"inges\"": `role: "inges" is none of all, ingest, process; did you mean "ingest"? ($FILE:1:1)`,
		"[couriers.acme]\nscheme = \"hmca\"\nsecrets = [\"env:HOME\"]":                     `did you mean "hmac"? ($FILE:2:1)`,
		"[couriers.acme]\nsecrets = [\"env:HOME\"]\nmode = \"Observ\"":                     `did you mean "observe"? ($FILE:3:1)`,
		"[ingest]\ndefault_courier = \"acmee\"\n[couriers.acme]\nsecrets = [\"env:HOME\"]": `there is no [couriers.acmee]; did you mean "acme"? ($FILE:2:1)`,
		"[couriers.acme]\nsecrets = [\"env:HOME\"]\n[couriers.acme.handshake]\necho = 1":   `did you mean "echo_query"? ($FILE:4:1)`,
		"[log]\nlevel = \"loud\"":                                                                             `"loud" is none of debug, info, warn, error ($FILE:2:1)`,
		"[process]\nmax_attempts = 20\nretry_multiplier = 5.0":                                                `retry_multiplier: 5, with process.max_attempts 20 and process.retry_base 1s, makes the last wait longer than 24h0m0s ($FILE:3:1)`,
		"[jetstream]\nmax_bytes = 100_000_000\nhistory_high_water_bytes = 200_000_000":                        `200000000 is not between 1 and jetstream.max_bytes, which is 100000000 ($FILE:3:1)`,
		"[process]\nworkers = 9\nbatch_size = 1000\n[jetstream]\nmax_ack_pending = 10":                        `1000 times process.workers, which is 9, is more than jetstream.max_ack_pending, which is 10: workers would wait for each other ($FILE:3:1)`,
		"[couriers.acme]\nsecrets = [\"env:HOME\"]\nmax_body_bytes = 2_000\n[ingest]\nmax_body_bytes = 1_024": `2000 is more than the 1024 of ingest.max_body_bytes ($FILE:3:1)`,
	} {
		if got := checked(t, document); !strings.Contains(got, want) {
			t.Errorf("there is no\n  %s\nin\n%s", want, got)
		}
	}
}

// TestFaultsHaveNoGoInThem has a value of every kind in a setting of every kind.
func TestFaultsHaveNoGoInThem(t *testing.T) {
	internal := regexp.MustCompile(`strconv|mapstructure|unmarshal|decod|unconvertible|interface|struct\b|map\[|\[\]|int64|float64|time\.[A-Z]|koanf|toml:|something`)
	keys := []string{
		"shutdown_timeout", "ingest.max_body_bytes", "ingest.record_per_second", "ingest.trusted_proxies", "admin.token", "log", "couriers", "couriers.a",
		"persistence.accept_older_store", "jetstream.max_bytes", "couriers.a.secrets", "couriers.a.event", "couriers.a.event.time", "couriers.a.event.key", "couriers.a.timestamp",
		"couriers.a.event.state", "couriers.a.claims",
	}
	for _, key := range keys {
		for _, value := range []string{`"x"`, `"5 apples"`, "true", "7", "7.5", "[1, [2]]", "[{a = 1}]", "{a = {b = 1}}", "2026-01-01", "2026-01-01T00:00:00Z", "00:00:01"} {
			document := fmt.Sprintf("%s = %s\n", key, value)
			got := checked(t, document)
			if found := internal.FindString(got); found != "" {
				t.Errorf("%q is in the fault of %s:\n%s", found, document, got)
			}
		}
	}
}

func TestNoTOML(t *testing.T) {
	for document, want := range map[string]string{
		"[log]\nlevel = info\n":                    "$FILE:2:12: a text needs quotes around it",
		"[jetstream]\nmax_bytes = 8GiB\n":          "$FILE:2:14: a number has no unit; a text needs quotes around it",
		"role: \"all\"\n":                          "$FILE:1:5: a key and its value have = between them",
		"[log\nlevel = \"info\"\n":                 "$FILE:1:5: a table's name ends with ], and nothing comes after it",
		"[log]\nlevel = \"a\"\n  level = \"b\"\n":  "$FILE:3:3: key level is already defined",
		"[log]\nlevel = \"a\"\n[a]\n[log]\nx = 1":  "$FILE:4:2: table log already exists",
		"[couriers.a]\nsecrets = [\"env:X\" 1]\n":  "$FILE:2:",
		"role = \"all\"\n[couriers.a]\nmode=\"x\n": "$FILE:3:8: ",
	} {
		if got := checked(t, document); !strings.HasPrefix(got, "  "+want) || strings.Contains(got, "toml") {
			t.Errorf("%q: got\n%s, want\n  %s", document, got, want)
		}
	}
}

// TestBoundsFollow sets one key of each pair; the default of the other has to give way.
func TestBoundsFollow(t *testing.T) {
	t.Setenv("S", "sixteen bytes or more of a secret")
	for document, check := range map[string]func(Config) bool{
		"[jetstream]\nmax_bytes = 1_073_741_824": func(c Config) bool {
			return c.JetStream.HighWaterBytes == 256*mebi && c.JetStream.LowWaterBytes == 128*mebi
		},
		"[jetstream]\nmax_bytes = 16_777_216": func(c Config) bool { return c.JetStream.HighWaterBytes == 4*mebi },
		"[jetstream]\nhistory_high_water_bytes = 1_073_741_824": func(c Config) bool {
			return c.JetStream.LowWaterBytes == 512*mebi
		},
		"[jetstream]\nduplicate_window = \"240h\"": func(c Config) bool { return c.JetStream.HistoryMaxAge == 240*time.Hour },
		"[process]\nworkers = 16":                  func(c Config) bool { return c.JetStream.MaxAckPending == 4096 },
		"[process]\nworkers = 17":                  func(c Config) bool { return c.JetStream.MaxAckPending == 17*256 },
		"[jetstream]\nmax_ack_pending = 64":        func(c Config) bool { return c.Process.BatchSize == 32 && c.Process.Workers == 2 },
		"[process]\nmax_attempts = 20": func(c Config) bool {
			return c.Process.RetryMultiplier > 1.8 && c.Process.RetryMultiplier < 2
		},
		"[couriers.a]\nsecrets = [\"env:S\"]\nmax_body_bytes = 2_097_152": func(c Config) bool { return c.Ingest.MaxBodyBytes == 2<<20 },
		"": func(c Config) bool { return c.Process == Defaults().Process },
	} {
		if faults := checked(t, document); faults != "" {
			t.Errorf("%s\n%s", document, faults)
		}
		l, err := Load(configFile(t, document), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !check(l.Config) {
			t.Errorf("%s\nmakes %+v %+v", document, l.JetStream, l.Process)
		}
	}
}

func TestPositionsOfTheWholeFile(t *testing.T) {
	raw, err := os.ReadFile("../../appliance.toml")
	if err != nil {
		t.Fatal(err)
	}
	l, err := Load("../../appliance.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(raw), "\n")
	for key := range l.Origins {
		at := l.places.of[key]
		name := key[strings.LastIndex(key, ".")+1:]
		if at.line == 0 || !strings.HasPrefix(lines[at.line-1][at.column-1:], name) {
			t.Errorf("%s is not at %d:%d", key, at.line, at.column)
		}
	}
	if len(l.Origins) < 60 {
		t.Errorf("only %d keys were looked at", len(l.Origins))
	}
}

func TestFaultsNameTheirCause(t *testing.T) {
	err := loaded(t, "[jetstream]\nmax_bytes = 0\n").Check()
	if err == nil || !strings.Contains(err.Error(), "jetstream.max_bytes: ") || strings.Contains(err.Error(), "history_high_water_bytes") {
		t.Errorf("a queue without room: %v", err)
	}
	err = loaded(t, "[couriers.acme]\nscheme = \"bearer\"\nsecrets = [\"env:X\"]\n[couriers.acme.event.states]\ndelivred = [\"D\"]\n").Check()
	if err == nil || !strings.Contains(err.Error(), `did you mean "delivered"?`) {
		t.Errorf("a state that is misspelled: %v", err)
	}
}
