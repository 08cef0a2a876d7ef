package stripeevent

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
)

// errSyntax: the bytes are not one JSON value.
var errSyntax = errors.New("not JSON")

// fieldError says why a field of a JSON value cannot be used.
type fieldError struct {
	// path names the field by the tags of the Go structs, for example "data.object". It never quotes the body.
	path string
	// repeated is true if the field is there twice. Otherwise its value has another type.
	repeated bool
}

func (e *fieldError) Error() string {
	if e.repeated {
		return `"` + e.path + `" is there twice`
	}
	return `"` + e.path + `" has another type`
}

// within returns the error of a field of an outer value.
func (e *fieldError) within(name string) *fieldError {
	if e.path == "" {
		return &fieldError{name, e.repeated}
	}
	return &fieldError{name + "." + e.path, e.repeated}
}

// Unmarshal decodes a JSON value into a variable like json.Unmarshal, with two differences. A name in the JSON must equal
// the tag of a field in every letter: json.Unmarshal also takes another case, so that "Status" replaces "status". And a
// name that the variable reads must be there once: readers that take the first value and readers that take the last one
// see different sessions otherwise. Names that the variable does not read can be there as often as they like.
//
// It returns an error for a value of another type, as json.Unmarshal does, and decodes the other fields. Texts that are
// not UTF-8 are decoded with U+FFFD. It supports no embedded structs. It is safe for concurrent use.
func Unmarshal(body []byte, into any) error {
	if !json.Valid(body) {
		return errSyntax
	}
	return unmarshalValid(trimSpace(body), into)
}

// unmarshalValid is Unmarshal for bytes that are known to be one JSON value without space around it.
func unmarshalValid(value []byte, into any) error {
	if err := decodeValue(value, reflect.ValueOf(into).Elem()); err != nil {
		return err
	}
	return nil
}

func decodeValue(value []byte, into reflect.Value) *fieldError {
	if own, ok := into.Addr().Interface().(json.Unmarshaler); ok {
		return asFieldError(own.UnmarshalJSON(value))
	}
	switch kind := into.Kind(); {
	case kind == reflect.Pointer && value[0] == 'n':
		into.SetZero() // as json.Unmarshal, which allocates for it
		return nil
	case kind == reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		return decodeValue(value, into.Elem())
	case kind == reflect.Struct && value[0] == '{':
		return decodeStruct(value, into)
	case kind == reflect.Map && value[0] == '{':
		return decodeMap(value, into)
	case kind == reflect.Slice && value[0] == '[':
		return decodeSlice(value, into)
	default:
		return asFieldError(json.Unmarshal(value, into.Addr().Interface()))
	}
}

// asFieldError returns the error of one value.
func asFieldError(err error) *fieldError {
	if err == nil {
		return nil // before inner, which is on the heap
	}
	if inner := (*fieldError)(nil); errors.As(err, &inner) {
		return inner
	}
	return &fieldError{}
}

// decodeStruct decodes all fields. It returns the first repetition or, if there is none, the first value of another type.
func decodeStruct(object []byte, into reflect.Value) (failed *fieldError) {
	fields := fieldsOf(into.Type())
	var seen uint64
	eachMember(object, func(quoted, value []byte) {
		at, ok := fields.at(quoted)
		if !ok {
			return
		}
		err := &fieldError{repeated: true}
		if seen&(1<<at) == 0 {
			seen |= 1 << at
			err = decodeValue(value, into.Field(at))
		}
		if err != nil && (failed == nil || err.repeated && !failed.repeated) {
			failed = err.within(fields.names[at])
		}
	})
	return failed
}

// decodeMap decodes an object into a map of strings to any type.
func decodeMap(object []byte, into reflect.Value) (failed *fieldError) {
	decoded := reflect.MakeMap(into.Type())
	eachMember(object, func(quoted, value []byte) {
		name := reflect.ValueOf(unquote(quoted)).Convert(into.Type().Key())
		element := reflect.New(into.Type().Elem()).Elem()
		err := &fieldError{repeated: true}
		if !decoded.MapIndex(name).IsValid() {
			err = decodeValue(value, element)
			decoded.SetMapIndex(name, element)
		}
		if err != nil && (failed == nil || err.repeated && !failed.repeated) {
			failed = err.within("*")
		}
	})
	into.Set(decoded)
	return failed
}

func decodeSlice(array []byte, into reflect.Value) (failed *fieldError) {
	decoded := reflect.MakeSlice(into.Type(), 0, 0)
	eachElement(array, func(value []byte) {
		element := reflect.New(into.Type().Elem()).Elem()
		if err := decodeValue(value, element); err != nil && (failed == nil || err.repeated && !failed.repeated) {
			failed = err.within("*")
		}
		decoded = reflect.Append(decoded, element)
	})
	into.Set(decoded)
	return failed
}

// structFields are the names of the fields of a struct.
type structFields struct {
	names  []string
	byName map[string]int
}

var knownStructs sync.Map // of *structFields by reflect.Type

func fieldsOf(structType reflect.Type) *structFields {
	if known, ok := knownStructs.Load(structType); ok {
		return known.(*structFields)
	}
	fields := &structFields{byName: make(map[string]int)}
	for i := range structType.NumField() {
		name, _, _ := strings.Cut(structType.Field(i).Tag.Get("json"), ",")
		if name == "" {
			panic("stripeevent: a field of " + structType.String() + " has no name")
		}
		fields.names = append(fields.names, name)
		fields.byName[name] = i
	}
	if len(fields.names) > 64 {
		panic("stripeevent: " + structType.String() + " has more than 64 fields")
	}
	knownStructs.Store(structType, fields)
	return fields
}

// at returns the position of the field that a quoted name names.
func (f *structFields) at(quoted []byte) (int, bool) {
	if name := quoted[1 : len(quoted)-1]; isPlain(name) {
		at, ok := f.byName[string(name)]
		return at, ok
	}
	at, ok := f.byName[unquote(quoted)]
	return at, ok
}

// unquote returns the text of a JSON string.
func unquote(quoted []byte) string {
	if plain := quoted[1 : len(quoted)-1]; isPlain(plain) {
		if word, ok := words[string(plain)]; ok {
			return word
		}
		return string(plain)
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // the string is valid
	return s
}

// member returns the value of a member of a JSON object, or nil if there is none. repeated is true if it is there twice.
func member(object []byte, name string) (value []byte, repeated bool) {
	if len(object) == 0 || object[0] != '{' {
		return nil, false
	}
	eachMember(object, func(quoted, v []byte) {
		if plain := quoted[1 : len(quoted)-1]; isPlain(plain) && string(plain) != name || unquote(quoted) != name {
			return
		}
		repeated = repeated || value != nil
		value = v
	})
	return value, repeated
}
