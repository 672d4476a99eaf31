import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import java.util.Scanner;

import software.amazon.kinesis.retrieval.AggregatorUtil;
import software.amazon.kinesis.retrieval.KinesisClientRecord;

/**
 * Asks the daemon's own class what it makes of payloads, with the jars of KCL 2.x or 3.x on the class path:
 *
 *     java -cp 'JARS/*' Aggregates.java < PAYLOADS
 *
 * Each line of stdin is a payload in base64. For each comes a line "payload", and after it a line for each
 * record that the daemon would hand over: "record", its sub-sequence number, its partition key and its data
 * in base64, and its explicit hash key or "-", with tabs between. Where there is an aggregate that refers to
 * a key that it has not, the class means to log that, and fails with Java 11 and later, for it names a class
 * that Java no longer has: "broken".
 */
public final class Aggregates {
    public static void main(String[] arguments) {
        StringBuilder output = new StringBuilder();
        Scanner payloads = new Scanner(System.in, StandardCharsets.UTF_8);
        while (payloads.hasNextLine()) {
            output.append("payload\n");
            byte[] payload = Base64.getDecoder().decode(payloads.nextLine());
            KinesisClientRecord whole = KinesisClientRecord.builder()
                    .data(ByteBuffer.wrap(payload))
                    .partitionKey("whole")
                    .sequenceNumber("1")
                    .build();
            try {
                for (KinesisClientRecord record : new AggregatorUtil().deaggregate(List.of(whole))) {
                    append(output, record);
                }
            } catch (NoClassDefFoundError e) {
                output.append("broken\n");
            }
        }
        System.out.print(output);
    }

    private static void append(StringBuilder output, KinesisClientRecord record) {
        byte[] data = new byte[record.data().remaining()];
        record.data().get(data);
        String hashKey = record.explicitHashKey() == null ? "-" : record.explicitHashKey();
        output.append("record\t").append(record.subSequenceNumber());
        output.append('\t').append(base64(record.partitionKey().getBytes(StandardCharsets.UTF_8)));
        output.append('\t').append(base64(data));
        output.append('\t').append(hashKey).append('\n');
    }

    private static String base64(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }
}
