package mqtt_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/mqtt"
)

// A session takes messages from a broker, here the built-in one.
func ExampleSession() {
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	broker, _ := mqtt.NewBroker(mqtt.BrokerConfig{Listen: "127.0.0.1:0"}, log)
	if err := broker.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Close()

	session, _ := mqtt.New(mqtt.Config{URL: broker.URL(), ClientID: "greenhouse"}, nil, nil, log)
	messages, _ := session.Subscribe(ctx, "sensors/#")
	session.Start(ctx)
	defer session.Close()

	sensor, _ := mqtt.New(mqtt.Config{URL: broker.URL()}, nil, nil, log)
	sensor.Start(ctx)
	defer sensor.Close()
	reading := message.NewMessage("1", []byte("21.5"))
	reading.Metadata.Set(transports.MetaRetain, "1") // for whoever subscribes later
	if err := sensor.Publish("sensors/temperature", reading); err != nil {
		fmt.Println(err)
		return
	}
	msg := <-messages
	fmt.Println(msg.Metadata.Get(transports.MetaTopic), string(msg.Payload))
	msg.Ack()
	// Output: sensors/temperature 21.5
}
