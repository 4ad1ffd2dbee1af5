// The JVM's side of `connect-bench converters`: the same work with Kafka Connect's own classes.
//
//   mvn -f bench/jvm/pom.xml dependency:copy-dependencies -DoutputDirectory=/tmp/connect-jars
//   cargo run --release -p connect-bench -- converters --jars /tmp/connect-jars
//
// connect-bench starts it with a folder of records, and writes one line per measurement to its input:
// the name of a case and the number of passes over the records. It answers with nanoseconds.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.transforms.InsertField;
import org.apache.kafka.connect.transforms.MaskField;
import org.apache.kafka.connect.transforms.ReplaceField;
import org.apache.kafka.connect.transforms.Transformation;

public class Converters {
    /** What was made is looked at, so that no compiler leaves the work out. */
    static long seen;

    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        JsonConverter plain = converter(false);
        JsonConverter enveloped = converter(true);
        byte[][] plainBytes = lines(folder.resolve("plain.json"));
        byte[][] envelopeBytes = lines(folder.resolve("envelope.json"));
        SchemaAndValue[] maps = read(plain, plainBytes);
        SchemaAndValue[] structs = read(enveloped, envelopeBytes);
        List<Transformation<SourceRecord>> chain = chain();

        BufferedReader orders = new BufferedReader(new InputStreamReader(System.in));
        for (String order; (order = orders.readLine()) != null; ) {
            String name = order.split(" ")[0];
            int passes = Integer.parseInt(order.split(" ")[1]);
            long began = System.nanoTime();
            for (int pass = 0; pass < passes; pass++) {
                switch (name) {
                    case "json-read" -> toConnect(plain, plainBytes);
                    case "json-write" -> fromConnect(plain, maps);
                    case "envelope-read" -> toConnect(enveloped, envelopeBytes);
                    case "envelope-write" -> fromConnect(enveloped, structs);
                    case "transforms-maps" -> transform(chain, maps);
                    case "transforms-structs" -> transform(chain, structs);
                    default -> throw new IllegalArgumentException(name);
                }
            }
            System.out.println(System.nanoTime() - began);
        }
        System.err.println(seen == 0 ? "nothing was done" : "");
    }

    static JsonConverter converter(boolean schemas) {
        JsonConverter converter = new JsonConverter();
        converter.configure(Map.of("schemas.enable", schemas), false);
        return converter;
    }

    static byte[][] lines(Path file) throws Exception {
        return Files.readAllLines(file, StandardCharsets.UTF_8).stream()
            .map(line -> line.getBytes(StandardCharsets.UTF_8))
            .toArray(byte[][]::new);
    }

    static SchemaAndValue[] read(JsonConverter converter, byte[][] records) {
        SchemaAndValue[] values = new SchemaAndValue[records.length];
        for (int at = 0; at < records.length; at++) {
            values[at] = converter.toConnectData("orders", records[at]);
        }
        return values;
    }

    static List<Transformation<SourceRecord>> chain() {
        List<Transformation<SourceRecord>> chain = new ArrayList<>();
        Transformation<SourceRecord> replace = new ReplaceField.Value<>();
        replace.configure(Map.of("exclude", "note", "renames", "customer:client"));
        Transformation<SourceRecord> mask = new MaskField.Value<>();
        mask.configure(Map.of("fields", "client", "replacement", "***"));
        Transformation<SourceRecord> insert = new InsertField.Value<>();
        insert.configure(Map.of("topic.field", "topic", "static.field", "origin", "static.value", "bench"));
        chain.add(replace);
        chain.add(mask);
        chain.add(insert);
        return chain;
    }

    static void toConnect(JsonConverter converter, byte[][] records) {
        for (byte[] record : records) {
            seen += converter.toConnectData("orders", record).value() == null ? 0 : 1;
        }
    }

    static void fromConnect(JsonConverter converter, SchemaAndValue[] values) {
        for (SchemaAndValue value : values) {
            seen += converter.fromConnectData("orders", value.schema(), value.value()).length;
        }
    }

    static void transform(List<Transformation<SourceRecord>> chain, SchemaAndValue[] values) {
        for (SchemaAndValue value : values) {
            SourceRecord record = new SourceRecord(null, null, "orders", value.schema(), value.value());
            for (Transformation<SourceRecord> step : chain) {
                record = step.apply(record);
            }
            seen += record.value() == null ? 0 : 1;
        }
    }
}
