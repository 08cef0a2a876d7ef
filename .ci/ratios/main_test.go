package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const threeRounds = `goos: linux
BenchmarkIngest/server=bare-2         	3000	100 ns/op	10000 calls/s	50.00 server-µs/op
BenchmarkIngest/server=ours-2         	3000	200 ns/op	 5000 calls/s	80.00 server-µs/op	27.28 redis-µs/op
BenchmarkIngest/server=express-hset   	3000	200 ns/op	 2500 calls/s	80.00 server-µs/op	 5.00 redis-µs/op
BenchmarkIngest/server=ours-2         	3000	200 ns/op	 8000 calls/s	60.00 server-µs/op	20.00 redis-µs/op
BenchmarkIngest/server=express-hset-2 	3000	200 ns/op	 2000 calls/s	80.00 server-µs/op	 5.00 redis-µs/op
BenchmarkIngest/server=bare-2         	3000	100 ns/op	20000 calls/s	50.00 server-µs/op
BenchmarkIngest/server=bare-2         	3000	100 ns/op	 9000 calls/s	50.00 server-µs/op
BenchmarkIngest/server=ours-2         	3000	200 ns/op	 6300 calls/s	70.00 server-µs/op	30.00 redis-µs/op
BenchmarkIngest/server=express-hset-2 	3000	200 ns/op	 3150 calls/s	80.00 server-µs/op	 5.00 redis-µs/op
PASS
`

func TestTable(t *testing.T) {
	var got strings.Builder
	if err := run("ours", []string{"bare", "before", "ours", "express-hset"}, strings.NewReader(threeRounds), &got); err != nil {
		t.Fatal(err)
	}
	// 5000/10000, 8000/20000, 6300/9000: the median is the second greatest of the rounds' ratios, not 6300/10000.
	want := `| Ingest | bare | ours | express-hset | ours / bare | ours / express-hset |
| --- | --- | --- | --- | --- | --- |
| calls/s | 10,000 (9,000 to 20,000) | 6,300 (5,000 to 8,000) | 2,500 (2,000 to 3,150) | 0.50 (0.40 to 0.70) | 2.00 (2.00 to 4.00) |
| server-µs/op | 50 | 70 (60 to 80) | 80 | 1.40 (1.20 to 1.60) | 0.88 (0.75 to 1.00) |
| redis-µs/op |  | 27.3 (20 to 30) | 5 |  | 5.46 (4.00 to 6.00) |

`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("the table (-want +got):\n%s", diff)
	}
}

func TestARoundWithoutAServerIsAnError(t *testing.T) {
	lines := strings.SplitAfter(threeRounds, "\n")
	for what, text := range map[string]string{
		"no line":             "PASS\n",
		"a round less":        strings.Join(lines[:len(lines)-3], ""),
		"no line of ours":     lines[1],
		"a value that is not": "BenchmarkIngest/server=ours-2 1 x ns/op\n",
	} {
		if err := run("ours", []string{"bare", "ours", "express-hset"}, strings.NewReader(text), &strings.Builder{}); err == nil {
			t.Errorf("%s is no error", what)
		}
	}
}
