package telemetry

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// maxDepth bounds the depth of nested messages that are logged.
const maxDepth = 8

// Message returns a value that logs a protobuf message: a group of the fields that are set. A field that the contract marks
// debug_redact shows "[secret]"; protobuf's own text (fmt, String) ignores that mark. A field of bytes shows its length only.
func Message(m proto.Message) slog.LogValuer { return message{m} }

type message struct{ proto.Message }

// LogValue returns the group. slog does not call it for a record that is not logged.
func (m message) LogValue() slog.Value {
	if m.Message == nil {
		return slog.AnyValue(nil)
	}
	return messageValue(m.ProtoReflect(), maxDepth)
}

func messageValue(m protoreflect.Message, depth int) slog.Value {
	switch known := m.Interface().(type) {
	case *timestamppb.Timestamp:
		return slog.TimeValue(known.AsTime())
	case *durationpb.Duration:
		return slog.DurationValue(known.AsDuration())
	}
	if depth == 0 {
		return slog.StringValue("...")
	}
	var fields []protoreflect.FieldDescriptor
	m.Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		fields = append(fields, field)
		return true
	})
	slices.SortFunc(fields, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number() - b.Number()) })
	var attrs []slog.Attr
	for _, field := range fields {
		attrs = append(attrs, slog.Attr{Key: string(field.Name()), Value: fieldValue(field, m.Get(field), depth)})
	}
	return slog.GroupValue(attrs...)
}

func fieldValue(field protoreflect.FieldDescriptor, value protoreflect.Value, depth int) slog.Value {
	options, _ := field.Options().(*descriptorpb.FieldOptions)
	switch {
	case options.GetDebugRedact():
		return slog.StringValue(concealed)
	case field.IsList():
		return listValue(field, value.List(), depth)
	case field.IsMap():
		return mapValue(field, value.Map(), depth)
	default:
		return singleValue(field, value, depth)
	}
}

func listValue(field protoreflect.FieldDescriptor, list protoreflect.List, depth int) slog.Value {
	var attrs []slog.Attr
	for i := range min(list.Len(), maxElements) {
		attrs = append(attrs, slog.Attr{Key: strconv.Itoa(i), Value: singleValue(field, list.Get(i), depth)})
	}
	if list.Len() > maxElements {
		attrs = append(attrs, slog.Int("more", list.Len()-maxElements))
	}
	return slog.GroupValue(attrs...)
}

func mapValue(field protoreflect.FieldDescriptor, entries protoreflect.Map, depth int) slog.Value {
	var attrs []slog.Attr
	entries.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		attrs = append(attrs, slog.Attr{Key: key.String(), Value: singleValue(field.MapValue(), value, depth)})
		return len(attrs) < maxElements
	})
	slices.SortFunc(attrs, func(a, b slog.Attr) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	if entries.Len() > maxElements {
		attrs = append(attrs, slog.Int("more", entries.Len()-maxElements))
	}
	return slog.GroupValue(attrs...)
}

func singleValue(field protoreflect.FieldDescriptor, value protoreflect.Value, depth int) slog.Value {
	switch field.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return messageValue(value.Message(), depth-1)
	case protoreflect.EnumKind:
		if known := field.Enum().Values().ByNumber(value.Enum()); known != nil {
			return slog.StringValue(string(known.Name()))
		}
		return slog.Int64Value(int64(value.Enum()))
	case protoreflect.BytesKind:
		return slog.StringValue(fmt.Sprintf("%d bytes", len(value.Bytes())))
	default:
		return slog.AnyValue(value.Interface())
	}
}
