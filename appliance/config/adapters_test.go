package config

import (
	"slices"
	"testing"

	"github.com/fincart/courier-gateway/ingest"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// TestRecordsWaitInBoundedMemory: where more is kept of each refused request, fewer
// of them wait.
func TestRecordsWaitInBoundedMemory(t *testing.T) {
	t.Parallel()
	cfg := Defaults()
	for bodyBytes, want := range map[int]int{1: 256, cfg.Ingest.RecordBodyBytes: 256, int(mebi): 31} {
		cfg.Ingest.RecordBodyBytes = bodyBytes
		records := cfg.Intake().Records
		if records.Queue != want || records.Queue*(records.BodyBytes+cfg.Ingest.MaxHeaderBytes) > waitingBytes {
			t.Errorf("of %d bytes each %d records may wait, want %d", bodyBytes, records.Queue, want)
		}
	}
	cfg.Ingest.MaxHeaderBytes = int(mebi) // the most that either can be
	if got := cfg.Intake().Records.Queue; got < 10 {
		t.Errorf("only %d records may wait", got)
	}
}

// TestAnswersAndContentOfACourier: what is set of a courier's bodies, handshakes and answers
// gets to the intake, with the values read that are references.
func TestAnswersAndContentOfACourier(t *testing.T) {
	t.Setenv("SECRET", "0123456789abcdef")
	t.Setenv("ANSWER", "open sesame")
	l := loaded(t, `
		[couriers.acme]
		scheme = "basic"
		secrets = ["env:SECRET"]
		content_types = ["text/*", "none"]
		content_encodings = ["gzip"]
		success_headers = { X-B = "env:ANSWER", X-A = "plain" }
		handshake = { probe = true, challenge = "c", challenge_answer = "json", echo_header = "x-h" }
	`)
	one, err := l.IntakeCourier("acme", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := one.Success.Headers, []ingest.Header{{Name: "X-A", Value: "plain"}, {Name: "X-B", Value: "open sesame"}}; !slices.Equal(got, want) {
		t.Errorf("headers are %v", got)
	}
	if want := (ingest.Handshake{Probe: true, Challenge: "c", ChallengeAnswer: "json", EchoHeader: "x-h"}); one.Handshake != want {
		t.Errorf("handshakes are %+v", one.Handshake)
	}
	if !slices.Equal(one.ContentTypes, []string{"text/*", "none"}) || !slices.Equal(one.Encodings, []string{"gzip"}) {
		t.Errorf("bodies are %v %v", one.ContentTypes, one.Encodings)
	}
	if plain := (Courier{Config: signature.Config{Scheme: "basic"}}).WithDefaults(); slices.Contains(plain.ContentTypes, "none") || plain.FormField != "payload" {
		t.Errorf("the defaults of a courier with a password are %+v", plain)
	}
}

// TestPresetsAnswerWhatTheirSendersAsk: an address can be entered at a sender that asks first.
func TestPresetsAnswerWhatTheirSendersAsk(t *testing.T) {
	t.Setenv("SECRET", "0123456789abcdef")
	for preset, want := range map[string]ingest.Handshake{"lalamove": {Probe: true}, "onfleet": {EchoQuery: "check", Probe: true}, "stripe": {}} {
		if got := loaded(t, "[couriers.one]\npreset = \""+preset+"\"\nsecrets = [\"env:SECRET\"]\n").Couriers["one"].Handshake; got != want {
			t.Errorf("%s answers %+v, want %+v", preset, got, want)
		}
	}
}
