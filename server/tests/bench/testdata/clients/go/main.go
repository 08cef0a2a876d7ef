// Command go is the Go client. With UPDATES it reads that many updates of a watch and reports what each took; without, it asks for
// one status.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/verification-status/client"
)

func main() {
	c, err := client.Dial(os.Getenv("TARGET"), client.WithPlaintext())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	updates, _ := strconv.Atoi(os.Getenv("UPDATES"))
	if updates == 0 {
		v, err := c.Status(context.Background(), client.Session("vs_Bench"))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(strings.TrimPrefix(v.GetStatus().String(), "STATUS_"))
		return
	}
	var seen int
	var began time.Time
	var before time.Duration
	for update, err := range c.Watch(context.Background(), client.Session("vs_Bench")) {
		if err != nil {
			log.Fatal(err)
		}
		if seen == 0 {
			began, before = time.Now(), processorTime()
		}
		if update.Verification.GetStatus() > 0 {
			seen++
		}
		if seen == updates {
			break
		}
	}
	fmt.Printf(`{"cpuMicros":%d,"wallMicros":%d}`+"\n", (processorTime() - before).Microseconds(), time.Since(began).Microseconds())
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
