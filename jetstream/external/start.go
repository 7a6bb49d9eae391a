package external

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// Codes of the broker's errors (nats-server, server/jetstream_errors_generated.go).
const (
	codeAccountLimits       natsjs.ErrorCode = 10002
	codeUnavailable         natsjs.ErrorCode = 10008
	codeResources           natsjs.ErrorCode = 10023
	codeOffForAccount       natsjs.ErrorCode = 10039
	codeMemoryResources     natsjs.ErrorCode = 10028
	codeStorageResources    natsjs.ErrorCode = 10047
	codeOverlap             natsjs.ErrorCode = 10065
	codeReplicasUnsupported natsjs.ErrorCode = 10074
	codeOff                 natsjs.ErrorCode = 10076
	codeNoPeers             natsjs.ErrorCode = 10005
	codeStreamLimit         natsjs.ErrorCode = 10027
)

// refused are errors about who we are, which the broker will repeat.
var refused = []error{
	nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
	nats.ErrSecureConnRequired, nats.ErrSecureConnWanted,
}

// Final reports whether trying again is of no use: it is the configuration here, or a
// stream there that somebody else needs, that has to be changed.
func Final(err error) bool {
	for _, e := range append(refused, os.ErrNotExist, os.ErrPermission) {
		if errors.Is(err, e) {
			return true
		}
	}
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		return true
	}
	code := codeOf(err)
	return code == codeOverlap || code == codeReplicasUnsupported
}

func codeOf(err error) natsjs.ErrorCode {
	if api, ok := errors.AsType[natsjs.JetStreamError](err); ok && api.APIError() != nil {
		return api.APIError().ErrorCode
	}
	return 0
}

// Explain adds to an error of a start what to do. denied is what the broker has not
// permitted meanwhile, nil for nothing: the request itself only goes unanswered.
func Explain(err, denied error) error {
	if denied != nil {
		return fmt.Errorf("%w: the broker permits its user too little, give it what docs/runbook.md lists (%w)", denied, err)
	}
	advice := ""
	switch code := codeOf(err); {
	case isAny(err, refused):
		advice = "the broker refuses this user or its connection: correct jetstream.urls, jetstream.credentials_file or the TLS settings, or the broker's users"
	case code == codeOverlap:
		advice = "another stream of the broker takes our subjects (events.*, progress.>, or advisories of EVENTS): remove it or change its subjects there, or use another account"
	case code == codeReplicasUnsupported:
		advice = "the broker is no cluster, or too small a one: lower jetstream.replicas, or connect to the cluster"
	case code == codeOff, code == codeOffForAccount, errors.Is(err, nats.ErrNoResponders):
		advice = "JetStream is off: enable it on the server (jetstream {}) and for the account"
	case code == codeNoPeers:
		advice = "too few of the broker's servers run or have space"
	case code == codeAccountLimits, code == codeResources, code == codeMemoryResources, code == codeStorageResources, code == codeStreamLimit:
		advice = "the broker has too little storage for it: raise max_file_store or the account's limits there, free space, or lower jetstream.max_bytes"
	case code == codeUnavailable, errors.Is(err, context.DeadlineExceeded):
		advice = "the broker does not answer: a cluster without a leader, because too few of its servers run"
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout):
		advice = "is it running, and is jetstream.urls right?"
	}
	if advice == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, advice)
}

func isAny(err error, list []error) bool {
	for _, e := range list {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// longestPause is between two tries of [Until].
const longestPause = time.Second

// Until calls f until it succeeds, its error is final or ctx ends; then it returns the
// last error. Each error before that is reported.
func Until[T any](ctx context.Context, f func() (T, error), final func(error) bool, report func(error)) (T, error) {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, longestPause) {
		v, err := f()
		if err == nil || final(err) {
			return v, err
		}
		report(err)
		select {
		case <-ctx.Done():
			return v, err
		case <-time.After(pause):
		}
	}
}
