package config

import (
	"errors"
	"fmt"
	"io/fs"
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
	faults  faults            // keys that don't exist, values that don't fit
	Origins map[string]string // by key; a key that is missing has its default
}

// layer is one source of settings.
type layer struct {
	name   string // the origin of its keys
	values map[string]any
}

// Load reads the configuration: flags over environment over file over defaults.
// flags holds the keys that were set on the command line. Keys that do not exist
// and values of the wrong type become faults; [Loaded.Check] adds
// what else is wrong.
func Load(path string, flags map[string]any) (Loaded, error) {
	layers, path, err := layersOf(path, flags)
	if err != nil {
		return Loaded{}, err
	}
	l := Loaded{File: path, Origins: map[string]string{}}
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
			f.check(exists(source.KeyMap()[key]), key, "there is no such key (set by %s)", layer.name)
		}
		if err := k.Merge(source); err != nil {
			return Loaded{}, fmt.Errorf("read %s: %w", layer.name, err)
		}
	}
	if err := l.expand(k); err != nil {
		return Loaded{}, err
	}
	l.decode(k, f)
	for name, c := range l.Couriers {
		l.Couriers[name] = c.WithDefaults()
	}
	return l, nil
}

// layersOf returns the layers above the defaults, lowest first.
func layersOf(path string, flags map[string]any) ([]layer, string, error) {
	asked := path != ""
	if !asked {
		path, asked = os.LookupEnv(EnvConfig)
	}
	if !asked {
		path = DefaultFile
	}
	var layers []layer
	fileValues, err := readFile(path)
	switch {
	case err == nil:
		layers = append(layers, layer{"file " + path, fileValues})
	case errors.Is(err, fs.ErrNotExist) && !asked:
		path = ""
	default:
		return nil, "", fmt.Errorf("read the configuration file %s: %w", path, err)
	}
	environment := env.Provider(".", env.Opt{Prefix: EnvPrefix, TransformFunc: func(name, value string) (string, any) {
		if name == EnvConfig {
			return "", nil
		}
		return envKey(name), value
	}})
	values, err := environment.Read()
	if err != nil {
		return nil, "", fmt.Errorf("read the environment: %w", err)
	}
	return append(layers, layer{OriginEnvironment, values}, layer{OriginFlag, flags}), path, nil
}

// envKey turns APPLIANCE_JETSTREAM__MAX_BYTES into jetstream.max_bytes.
func envKey(name string) string {
	key := strings.ToLower(strings.TrimPrefix(name, EnvPrefix))
	return strings.ReplaceAll(key, "__", ".")
}

func readFile(path string) (map[string]any, error) {
	raw, err := file.Provider(path).ReadBytes()
	if err != nil {
		return nil, err
	}
	return toml.Parser().Unmarshal(raw)
}

// decode fills the typed configuration and adds every value that does not fit.
func (l *Loaded) decode(k *koanf.Koanf, f *faults) {
	err := k.UnmarshalWithConf("", &l.Config, koanf.UnmarshalConf{Tag: "koanf", DecoderConfig: &mapstructure.DecoderConfig{
		WeaklyTypedInput: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			splitList, decodeSecret, mapstructure.StringToTimeDurationHookFunc(),
		),
	}})
	for _, fault := range flatten(err) {
		key, message := l.describe(fault)
		f.add(key, "%s", message)
	}
}

// exists reports whether a key, in its parts, stands for a field of [Config]. What a
// map has may have dots in its name, such as the claims of a token.
func exists(key []string) bool {
	at := reflect.TypeFor[Config]()
	for _, part := range key {
		switch at.Kind() {
		case reflect.Map:
			at = at.Elem()
		case reflect.Struct:
			fields := reflect.VisibleFields(at)
			i := slices.IndexFunc(fields, func(f reflect.StructField) bool { return keyOf(f) == part })
			if i < 0 {
				return false
			}
			at = fields[i].Type
		default:
			return false
		}
	}
	return true
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

// describe returns the key that a decoding error is about, and what is wrong.
func (l *Loaded) describe(err error) (key, message string) {
	if e, ok := errors.AsType[*mapstructure.DecodeError](err); ok {
		key = dotted(e.Name())
		return key, e.Unwrap().Error() + l.from(key)
	}
	return "configuration", err.Error()
}

// from says where a key was set, for error messages.
func (l *Loaded) from(key string) string {
	for k, origin := range l.Origins {
		if k == key || strings.HasPrefix(k, key+".") {
			return " (set by " + origin + ")"
		}
	}
	return ""
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
