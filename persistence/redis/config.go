package redis

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Config says how to reach a Redis, version 6 or later, or what speaks its
// protocol. It has to be one server: a cluster spreads a batch over several.
type Config struct {
	// URL is redis://user:password@host:port/db, rediss:// for TLS, or unix://.
	// What is set below can't be changed by it.
	URL string
	// Prefix is what every key begins with.
	Prefix string
	// TTL is how long an identity is remembered, in whole seconds. It should not
	// be longer than the ledger keeps the event.
	TTL      time.Duration
	MaxConns int
	// ConnectTimeout bounds the making of a connection, which continues when the
	// operation that needs it has given up.
	ConnectTimeout time.Duration
	// OperationTimeout bounds every call, the wait for a connection included; a
	// few milliseconds, because the ledger has the answer too.
	OperationTimeout time.Duration
	// MaxFailures in a row open the breaker.
	MaxFailures int
	// ProbeEvery is how often Redis is probed while the breaker is open.
	ProbeEvery time.Duration
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
}

// DefaultConfig returns the settings of a cache that the appliance needs, but for its URL.
func DefaultConfig() Config {
	return Config{
		Prefix: "courier-gateway:", TTL: 24 * time.Hour, MaxConns: 16,
		ConnectTimeout: time.Second, OperationTimeout: 10 * time.Millisecond,
		MaxFailures: 3, ProbeEvery: 500 * time.Millisecond,
	}
}

func (c Config) check() error {
	var faults event.Faults
	faults.Check(c.TTL >= time.Second && c.TTL%time.Second == 0, "TTL", "is %s, must be whole seconds, at least 1", c.TTL)
	faults.Check(c.MaxConns >= 1, "MaxConns", "is %d, must be at least 1", c.MaxConns)
	faults.Check(c.ConnectTimeout > 0, "ConnectTimeout", "is %s, must be more than 0", c.ConnectTimeout)
	faults.Check(c.OperationTimeout > 0, "OperationTimeout", "is %s, must be more than 0", c.OperationTimeout)
	faults.Check(c.MaxFailures >= 1, "MaxFailures", "is %d, must be at least 1", c.MaxFailures)
	faults.Check(c.ProbeEvery > 0, "ProbeEvery", "is %s, must be more than 0", c.ProbeEvery)
	faults.Check(c.Log != nil, "Log", "is not set")
	return faults.Err()
}

// CheckURL returns what is wrong with a URL, without a part of it: it may hold a password.
func CheckURL(u string) error {
	if _, err := redis.ParseURL(u); err != nil {
		return errors.New("is not redis://USER:PASSWORD@HOST:PORT/DATABASE, rediss:// with the same or unix:// with a path: " +
			"characters of a password that mean something in a URL are written as %40 for @")
	}
	return nil
}

// options returns the client's settings. The client neither retries nor waits: the
// breaker does that for all calls at once.
func (c Config) options() (*redis.Options, error) {
	o, err := redis.ParseURL(c.URL)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL, which holds the password
		}
		return nil, fmt.Errorf("the URL can't be read: %w", err)
	}
	o.PoolSize, o.MaxActiveConns, o.PipelinePoolSize = c.MaxConns, c.MaxConns, -1
	o.DialTimeout, o.DialerRetries, o.MaxRetries = c.ConnectTimeout, 1, -1
	o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = c.OperationTimeout, c.OperationTimeout, c.OperationTimeout
	o.ContextTimeoutEnabled, o.DisableIdentity = true, true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o, nil
}
