package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"
)

const (
	// DefaultFile is read when --config is not given, if it is there.
	DefaultFile = "appliance.toml"
	// EnvPrefix begins the environment variables that are settings.
	EnvPrefix = "APPLIANCE_"
	// EnvConfig is the environment variable that names the file, in place of --config.
	EnvConfig = EnvPrefix + "CONFIG"
)

// Origins of a key; of one in a file it is the word and the file's name.
const (
	OriginFlag        = "flag"
	OriginEnvironment = "environment"
)

// Loaded is a configuration with where each of its keys comes from.
type Loaded struct {
	Config
	File    string            // the file that was read, "" for none
	Origins map[string]string // by key; a key that is missing has its default

	faults faults    // keys that don't exist, values that don't fit
	places positions // of what is in the file
}

// layer is one source of settings.
type layer struct {
	name   string // the origin of its keys
	values map[string]any
}

// Load reads the configuration: flags over environment over file over defaults.
// flags holds the keys that were set on the command line. Keys that do not exist
// and values of the wrong type become faults; [Loaded.Check] adds what else is wrong.
// The error is [Faults] when the file is no TOML.
func Load(path string, flags map[string]any) (Loaded, error) {
	layers, document, path, err := layersOf(path, flags)
	if err != nil {
		return Loaded{}, err
	}
	l := Loaded{File: path, Origins: map[string]string{}, places: positionsOf(document)}
	f := &l.faults
	k := koanf.New(".")
	if err := k.Load(structs.Provider(Defaults(), "koanf"), nil); err != nil {
		return Loaded{}, fmt.Errorf("read the defaults: %w", err)
	}
	for _, layer := range layers {
		source := koanf.New(".")
		if err := source.Load(confmap.Provider(layer.values, "."), nil); err != nil {
			return Loaded{}, fmt.Errorf("read %s: %w", layer.name, err)
		}
		for _, key := range source.Keys() {
			l.Origins[key] = layer.name
			f.unknown(source.KeyMap()[key])
			f.unknownItems(source.KeyMap()[key], source.Get(key))
		}
		if err := k.Merge(source); err != nil {
			return Loaded{}, fmt.Errorf("read %s: %w", layer.name, err)
		}
	}
	if err := l.expand(k); err != nil {
		return Loaded{}, err
	}
	l.decode(k, f)
	l.follow()
	for name, c := range l.Couriers {
		l.Couriers[name] = c.WithDefaults()
	}
	return l, nil
}

// layersOf returns the layers above the defaults, lowest first, with the file's text and
// name.
func layersOf(path string, flags map[string]any) (layers []layer, document []byte, used string, err error) {
	asked := path != ""
	if !asked {
		path, asked = os.LookupEnv(EnvConfig)
	}
	if !asked {
		path = DefaultFile
	}
	document, err = file.Provider(path).ReadBytes()
	switch {
	case err == nil:
		values, err := toml.Parser().Unmarshal(document)
		if err != nil {
			fault := syntaxFault(document, err)
			fault.File = path
			return nil, nil, "", Faults{fault}
		}
		layers = append(layers, layer{"file " + path, values})
	case errors.Is(err, fs.ErrNotExist) && !asked:
		path = ""
	default:
		return nil, nil, "", fmt.Errorf("read the configuration file %s: %w", path, err)
	}
	environment := env.Provider(".", env.Opt{Prefix: EnvPrefix, TransformFunc: func(name, value string) (string, any) {
		if name == EnvConfig {
			return "", nil
		}
		return envKey(name), value
	}})
	values, err := environment.Read()
	if err != nil {
		return nil, nil, "", fmt.Errorf("read the environment: %w", err)
	}
	return append(layers, layer{OriginEnvironment, values}, layer{OriginFlag, flags}), document, path, nil
}

// envKey turns APPLIANCE_JETSTREAM__MAX_BYTES into jetstream.max_bytes.
func envKey(name string) string {
	key := strings.ToLower(strings.TrimPrefix(name, EnvPrefix))
	return strings.ReplaceAll(key, "__", ".")
}

// variable is the inverse of envKey.
func variable(key string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "__"))
}

// decode fills the typed configuration and adds every value that does not fit, which then
// has its default.
func (l *Loaded) decode(k *koanf.Koanf, f *faults) {
	wrong := flatten(unmarshal(k, &l.Config))
	if len(wrong) == 0 {
		return
	}
	rest := k.Copy()
	for _, one := range wrong {
		key, message := describe(k, one)
		f.add(key, "%s", message)
		key, _, _ = strings.Cut(key, "[")
		rest.Delete(key)
	}
	right := koanf.New(".")
	if right.Load(structs.Provider(Defaults(), "koanf"), nil) == nil && right.Merge(rest) == nil {
		l.Config = Config{}
		_ = unmarshal(right, &l.Config) // what is wrong is known
	}
}

func unmarshal(k *koanf.Koanf, to *Config) error {
	return k.UnmarshalWithConf("", to, koanf.UnmarshalConf{Tag: "koanf", DecoderConfig: &mapstructure.DecoderConfig{
		WeaklyTypedInput: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			splitList, decodeSecret, exactNumbers, mapstructure.StringToTimeDurationHookFunc(),
		),
	}})
}

// keyOf returns the key that a field has in the configuration, "" for none.
func keyOf(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("koanf"), ",")
	return strings.TrimPrefix(key, "-")
}

// splitList turns "a, b" into a list, for lists in environment variables. A
// template, which has braces, is one item.
func splitList(from, to reflect.Type, value any) (any, error) {
	if from.Kind() != reflect.String || to.Kind() != reflect.Slice {
		return value, nil
	}
	text := value.(string)
	if strings.Contains(text, "{") {
		return []string{text}, nil
	}
	list := []string{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list, nil
}

// err returns faults as one error, each with the place where it was made; nil for none.
func (l *Loaded) err(f faults) error { return f.located(l.locate) }

// locate adds to a fault where its key was set.
func (l *Loaded) locate(f *Fault) {
	setBy := func(related func(key string) bool) string {
		for _, key := range slices.Sorted(maps.Keys(l.Origins)) {
			switch origin := l.Origins[key]; {
			case !related(key):
			case origin == OriginEnvironment:
				return "set by " + variable(key)
			case origin == OriginFlag:
				return "set by a flag"
			}
		}
		return ""
	}
	if f.setBy = setBy(func(key string) bool { return within(f.Path, key) }); f.setBy != "" {
		return
	}
	if at := l.places.find(f.Path); at.line > 0 {
		f.File, f.Line, f.Column = l.File, at.line, at.column
		return
	}
	f.setBy = setBy(func(key string) bool { return within(key, f.Path) })
}

// within reports whether a path is that of a key, or of something in it.
func within(path, key string) bool {
	rest, ok := strings.CutPrefix(path, key)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// Origin returns where a key's value comes from.
func (l *Loaded) Origin(key string) string {
	if o, ok := l.Origins[key]; ok {
		return o
	}
	return "default"
}

// flatten returns the errors that err joins.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	if inner := errors.Unwrap(err); inner != nil {
		if _, joined := inner.(interface{ Unwrap() []error }); joined {
			return flatten(inner)
		}
	}
	return []error{err}
}

var mapIndex = regexp.MustCompile(`\[([^\]]*[^\]0-9][^\]]*)\]`)

// dotted turns the decoder's "couriers[demo].scheme" into couriers.demo.scheme.
func dotted(name string) string { return mapIndex.ReplaceAllString(name, ".$1") }
