package redisstore

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// slot is Redis Cluster's function: CRC16 (XMODEM) of the text between the first braces, modulo 16384.
func slot(key string) int {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			key = tag
		}
	}
	var crc uint16
	for _, b := range []byte(key) {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc % 16384)
}

func TestSlotOfTheSpecification(t *testing.T) {
	if got := slot("123456789"); got != 0x31c3%16384 {
		t.Fatalf("slot = %d; want %d", got, 0x31c3%16384)
	}
}

func TestTagsAreEvenOverAnyNumberOfMasters(t *testing.T) {
	var slots []int
	for i, tag := range tags {
		at := slot("{" + tag + "}")
		if at/1024 != i {
			t.Errorf("tag %s is in sixteenth %d; want %d", tag, at/1024, i)
		}
		slots = append(slots, at)
	}
	for masters := 1; masters <= partitions; masters++ {
		counts := make([]int, masters)
		for _, at := range slots {
			counts[at*masters/16384]++
		}
		for _, count := range counts {
			if count < partitions/masters || count > (partitions+masters-1)/masters {
				t.Errorf("%d masters have %v partitions", masters, counts)
				break
			}
		}
	}
}

func TestKeysOfOneSessionShareASlot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := newKeys(rapid.SampledFrom([]string{"vs:", "x", "a:b:"}).Draw(t, "prefix"))
		id := rapid.StringMatching(`vs_[A-Za-z0-9_]{1,40}`).Draw(t, "id")
		p := partitionOf(id)
		want := slot(k.record(id))
		for _, key := range []string{k.feed(p), k.meta(p), k.due(p)} {
			if got := slot(key); got != want {
				t.Fatalf("%s: %s is in slot %d; want %d", id, key, got, want)
			}
		}
	})
}

// TestPartitionsAreFixed: another hash would move every session to another key.
func TestPartitionsAreFixed(t *testing.T) {
	for id, want := range map[string]int{"": 5, "a": 12, "vs_1MgnjdLkdIwHu7ixRNuiPmx8": 15} {
		if got := partitionOf(id); got != want {
			t.Errorf("partitionOf(%q) = %d; want %d", id, got, want)
		}
	}
}

func TestReferenceKeysShowNoReference(t *testing.T) {
	key := newKeys("vs:").reference("jane.doe@example.com")
	if strings.Contains(key, "jane") || len(key) != len("vs:ref:")+22 {
		t.Errorf("key = %s", key)
	}
}
