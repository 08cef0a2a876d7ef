package telemetry

import (
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
)

// maxElements bounds how many entries of a map or of a repeated field are logged.
const maxElements = 32

// redactor redacts one attribute at a time.
type redactor struct {
	text textRedactor
}

// replace is the handler's ReplaceAttr. slog also calls it for the message and for each member of a group, after it has resolved
// LogValuers. Values that slog would render itself (errors, Stringers, structs, bytes in base64) become text here, because they
// cannot be redacted later.
func (r *redactor) replace(groups []string, attr slog.Attr) slog.Attr {
	attr.Key = r.text.redact(attr.Key)
	value := attr.Value
	if value.Kind() == slog.KindDuration {
		return milliseconds(attr)
	}
	if value.Kind() == slog.KindAny {
		value = r.render(value.Any())
	}
	if value.Kind() == slog.KindString && value.String() != "" {
		if isSecretName(attr.Key) || slices.ContainsFunc(groups, isSecretName) {
			value = slog.StringValue(concealed)
		} else {
			value = slog.StringValue(r.text.redact(value.String()))
		}
	}
	attr.Value = value
	return attr
}

// milliseconds gives a duration a key with its unit: slog's JSON would be a bare number of nanoseconds.
func milliseconds(attr slog.Attr) slog.Attr {
	return slog.Float64(strings.TrimSuffix(attr.Key, "_ms")+"_ms", float64(attr.Value.Duration().Microseconds())/1000)
}

// render turns a value of any type into one that can be redacted: a text, or a group whose attributes slog passes to replace one
// by one. Numbers, booleans and nil stay as they are.
func (r *redactor) render(v any) slog.Value {
	switch v := v.(type) {
	case nil:
		return slog.AnyValue(nil)
	case proto.Message:
		return Message(v).LogValue()
	case []byte:
		return slog.StringValue(string(v))
	case error, fmt.Stringer:
		// fmt survives a method that panics, such as one on a nil pointer.
		return slog.StringValue(fmt.Sprint(v))
	}
	switch value := reflect.ValueOf(v); value.Kind() {
	case reflect.Bool:
		return slog.BoolValue(value.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return slog.Int64Value(value.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return slog.Uint64Value(value.Uint())
	case reflect.Float32, reflect.Float64:
		return slog.Float64Value(value.Float())
	case reflect.Map:
		if value.Type().Key().Kind() == reflect.String {
			return r.renderMap(value)
		}
	case reflect.Slice:
		if value.Type().Elem().Kind() == reflect.Uint8 {
			return slog.StringValue(string(value.Bytes()))
		}
	}
	return slog.StringValue(fmt.Sprintf("%+v", v))
}

// renderMap turns a map (headers, metadata) into a group, so that its keys are judged as names.
func (r *redactor) renderMap(m reflect.Value) slog.Value {
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		if a.String() < b.String() {
			return -1
		}
		return 1
	})
	var attrs []slog.Attr
	for i, key := range keys {
		if i == maxElements {
			attrs = append(attrs, slog.Int("more", len(keys)-i))
			break
		}
		attrs = append(attrs, slog.Any(r.text.redact(key.String()), m.MapIndex(key).Interface()))
	}
	return slog.GroupValue(attrs...)
}
